"""Print a port of 127.0.0.1 that is free: the wanted one if it is, else any."""

import socket
import sys


def find_free_port(wanted: int) -> int:
    """Return ``wanted`` when nobody listens there, else a port the system picks."""
    for port in (wanted, 0):
        with socket.socket() as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                listener.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(listener.getsockname()[1])
    raise SystemExit("no free port")


if __name__ == "__main__":
    sys.stdout.write(f"{find_free_port(int(sys.argv[1]))}\n")
