"""Become a program that is handed its listening socket, as systemd hands it.

Run as a script, by path: ``activate.py FD PROGRAM [ARGUMENT ...]``. The protocol wants the
socket as descriptor 3 and the program's own process id in the environment, which only the process
itself knows.

Source: sd_listen_fds(3)
"""

import os
import sys

_FIRST = 3


def main() -> None:
    """Move the descriptor, say so in the environment, and become the program."""
    descriptor, program = int(sys.argv[1]), sys.argv[2:]
    if descriptor == _FIRST:
        os.set_inheritable(_FIRST, True)
    else:
        os.dup2(descriptor, _FIRST)
        os.close(descriptor)
    environment = {**os.environ, "LISTEN_FDS": "1", "LISTEN_PID": str(os.getpid())}
    os.execvpe(program[0], program, environment)  # noqa: S606 - becoming it is the purpose


if __name__ == "__main__":
    main()
