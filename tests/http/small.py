"""A server in a process with few file descriptors: ``python -m tests.http.small FILES``.

Writes its port, logs to stderr, ends when its standard input does; then writes the seconds of
processor time it has used since.
"""

from __future__ import annotations

import asyncio
import logging
import resource
import sys
import threading
import time

from handlers import server
from tests.http.site import Site, jwt_settings

#: seconds a half-open connection is kept here
IDLE_TIMEOUT_S = 6.0


def main(files: int) -> None:
    """Serve until the standard input ends."""
    logging.basicConfig(level=logging.INFO)
    server.IDLE_TIMEOUT_S = IDLE_TIMEOUT_S
    site = Site(jwt_settings())
    # After the imports, which need more.
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
    site.open()
    used_s = time.process_time()
    print(site.port, flush=True)  # noqa: T201

    async def wait_for_the_end() -> None:
        loop, ended = asyncio.get_running_loop(), asyncio.Event()

        def read() -> None:
            sys.stdin.read()
            loop.call_soon_threadsafe(ended.set)

        threading.Thread(target=read, daemon=True).start()
        await ended.wait()

    site.run(wait_for_the_end())
    site.close()
    print(time.process_time() - used_s, flush=True)  # noqa: T201


if __name__ == "__main__":
    main(int(sys.argv[1]))
