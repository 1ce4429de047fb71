"""The embedded engine: a ``podman system service`` that is our child.

The service is handed a listening socket made here, so whoever connects before it is up just
waits, and nobody has to ask whether it is. The parent keeps no copy: when the service dies, its
clients notice at once. Containers are children of Podman's monitors, not of the service, and
survive both it and us.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from abaco.errors import ConfigError
from backends.drivers import activate
from backends.drivers.host import EngineNeeds

log = logging.getLogger(__name__)

#: seconds between restarts, doubling up to the last; a service that lived longer starts afresh
_FIRST_PAUSE_S = 0.2
_LAST_PAUSE_S = 30.0
#: seconds the service has to go when told to
_STOP_S = 5.0
#: longest path of a unix socket. Source: unix(7)
_MAX_SOCKET_PATH = 107


class PodmanService:
    """One service process after another, on one socket.

    As a context manager it is started on entry, when the socket can be used at once, and
    stopped on exit; ``run`` keeps it alive in between.

    Args:
        socket_path: Where to listen; the process id is kept beside it.
        needs: What Podman must be told on this host.
        arguments: More of Podman's global options.

    """

    def __init__(
        self, socket_path: Path, needs: EngineNeeds, arguments: Sequence[str] = ()
    ) -> None:
        self.endpoint = f"unix://{socket_path}"
        self._socket_path = socket_path
        self._pid_path = socket_path.with_suffix(".pid")
        self._command = ["podman", *_options(needs), *arguments, "system", "service", "--time", "0"]
        self._process: asyncio.subprocess.Process | None = None

    async def __aenter__(self) -> Self:
        if len(os.fsencode(self._socket_path)) > _MAX_SOCKET_PATH:
            raise ConfigError(
                f"general.data_dir: {self._socket_path} is too long for a socket; use a shorter"
                " directory"
            )
        await self._replace_predecessor()
        await self._start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._stop()

    async def run(self) -> None:
        """Start the service again whenever it ends; returns only when cancelled."""
        pause_s = _FIRST_PAUSE_S
        while True:
            if self._process is None:
                await self._start()
            began = time.monotonic()
            code = await self._serve()
            if time.monotonic() - began > _LAST_PAUSE_S:
                pause_s = _FIRST_PAUSE_S
            log.warning("podman service ended with %s; starting it in %.1f s", code, pause_s)
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, _LAST_PAUSE_S)

    async def _start(self) -> None:
        self._socket_path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        listener = self._listen()
        try:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-I",
                str(activate.__file__),
                str(listener.fileno()),
                *self._command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.PIPE,
                pass_fds=(listener.fileno(),),
                # a ^C at the server's terminal is not meant for it
                start_new_session=True,
            )
        finally:
            listener.close()
        self._pid_path.write_text(f"{self._process.pid}\n")
        log.info("podman service started as process %d", self._process.pid)

    def _listen(self) -> socket.socket:
        self._socket_path.unlink(missing_ok=True)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            listener.bind(str(self._socket_path))
            self._socket_path.chmod(0o600)
            listener.listen(512)
        except OSError:
            listener.close()
            raise
        return listener

    async def _serve(self) -> int:
        """Pass on what the service says until it ends; return its exit code."""
        process = self._process
        assert process is not None  # noqa: S101 - run() has just made sure
        reader = asyncio.create_task(self._pass_on(process), name="podman service output")
        try:
            code = await process.wait()
            self._process = None
            return code
        finally:
            # its children may hold the pipe open for ever
            reader.cancel()
            await asyncio.gather(reader, return_exceptions=True)

    async def _pass_on(self, process: asyncio.subprocess.Process) -> None:
        assert process.stderr is not None  # noqa: S101 - it was started with a pipe
        async for line in process.stderr:
            log.info("podman: %s", line.decode(errors="replace").rstrip())

    async def _stop(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            with suppress(ProcessLookupError):
                process.terminate()
            try:
                async with asyncio.timeout(_STOP_S):
                    await process.wait()
            except TimeoutError:
                log.warning("podman service did not end within %g s; killed", _STOP_S)
                process.kill()
                await process.wait()
        self._pid_path.unlink(missing_ok=True)
        self._socket_path.unlink(missing_ok=True)

    async def _replace_predecessor(self) -> None:
        """End the service that a killed server left; its clients are gone."""
        pid = self._predecessor()
        if pid is None:
            return
        log.info("ending the podman service %d of an earlier server", pid)
        try:
            handle = os.pidfd_open(pid)
        except ProcessLookupError:
            return
        ended = asyncio.Event()
        loop = asyncio.get_running_loop()
        loop.add_reader(handle, ended.set)
        try:
            signal.pidfd_send_signal(handle, signal.SIGTERM)
            try:
                async with asyncio.timeout(_STOP_S):
                    await ended.wait()
            except TimeoutError:
                signal.pidfd_send_signal(handle, signal.SIGKILL)
                await ended.wait()
        except ProcessLookupError:
            return
        finally:
            loop.remove_reader(handle)
            os.close(handle)

    def _predecessor(self) -> int | None:
        try:
            pid = int(self._pid_path.read_text())
            command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except (OSError, ValueError):
            # no file, or no process: nobody is left
            return None
        # the number may belong to somebody else by now
        return pid if command[0].endswith(b"podman") and b"service" in command else None


def _options(needs: EngineNeeds) -> list[str]:
    options = []
    if needs.runtime is not None:
        options += ["--runtime", needs.runtime]
    if needs.cgroup_manager is not None:
        options += ["--cgroup-manager", needs.cgroup_manager]
    return options
