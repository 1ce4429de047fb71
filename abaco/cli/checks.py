"""What ``abaco doctor`` looks at. Every check returns findings, each with its remedy."""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import os
import shutil
import socket
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from abaco.cli.disk_checks import check_database, check_large_results
from abaco.cli.findings import Check, Finding, Level
from abaco.cli.host_checks import check_mounts, check_users
from abaco.cli.registry_checks import check_registries
from abaco.cli.tls_checks import check_api_servers, check_bundle, check_certificate
from abaco.config import Settings
from abaco.errors import AbacoError
from backends.drivers import host, statistics
from backends.drivers.auto import choose
from backends.drivers.select import open_driver
from backends.system import is_held

#: free bytes under the data directory: below the first a warning, below the second an error
LITTLE_SPACE_BYTES = 2 * 1024**3
NO_SPACE_BYTES = 100 * 1024**2

_ENGINE_TIMEOUT_S = 10.0


def check_python(settings: Settings) -> Iterator[Finding]:
    """Check the interpreter."""
    version = sys.version.split()[0]
    is_new = sys.version_info >= (3, 11)
    yield Finding(
        check="python",
        level=Level.OK if is_new else Level.ERROR,
        what=f"Python {version}",
        remedy="" if is_new else "install Python 3.11 or later",
    )


def check_data_dir(settings: Settings) -> Iterator[Finding]:
    """Check that the store's directory can be written and has room."""
    if settings.store.backend == "memory":
        yield Finding(
            check="store",
            level=Level.WARNING,
            what="the memory store forgets everything when the server stops",
            remedy="[store] backend: sqlite",
        )
    directory = settings.database_path.parent
    existing = next(place for place in (directory, *directory.parents) if place.exists())
    if problem := _write_problem(existing):
        yield Finding(
            check="store",
            level=Level.ERROR,
            what=f"{existing} cannot be written: {problem}",
            remedy="run as another user, or choose a place with --data-dir",
        )
        return
    where = f"{directory} can be written" if existing == directory else f"{directory} can be made"
    yield Finding(check="store", level=Level.OK, what=where)
    yield _space(existing)


def _write_problem(directory: Path) -> str:
    try:
        with tempfile.TemporaryFile(dir=directory):
            return ""
    except OSError as error:
        return str(error.strerror)


def _space(directory: Path) -> Finding:
    free = shutil.disk_usage(directory).free
    level = Level.OK
    if free < LITTLE_SPACE_BYTES:
        level = Level.ERROR if free < NO_SPACE_BYTES else Level.WARNING
    return Finding(
        check="space",
        level=level,
        what=f"{free / 1024**3:.1f} GiB free under {directory}",
        remedy="" if level is Level.OK else "make room, or choose another place with --data-dir",
    )


def check_port(settings: Settings) -> Iterator[Finding]:
    """Check that the server could listen where it is told to."""
    address, port = settings.web.address, settings.web.port
    place = f"{address} port {port}"
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((address, port))
        except OSError as error:
            # asked only when no start could succeed: the question itself would be in its way
            if error.errno == errno.EADDRINUSE and is_held(settings.general.data_dir):
                what = f"{place} is in use, and so is this data directory: a server runs"
                yield Finding(check="port", level=Level.OK, what=what)
                return
            yield Finding(
                check="port",
                level=Level.ERROR,
                what=f"cannot listen on {place}: {os.strerror(error.errno or 0)}",
                remedy="stop what listens there, or choose another with --port",
            )
            return
    yield Finding(check="port", level=Level.OK, what=f"{place} is free")


def check_engine(settings: Settings) -> Iterator[Finding]:
    """Check which container engine the server would use, and that it answers.

    A Podman service of Abaco's own is really started, in a directory that is gone afterwards.
    """
    with tempfile.TemporaryDirectory(prefix="abaco-doctor-") as directory:
        general = settings.general.model_copy(update={"data_dir": Path(directory)})
        elsewhere = settings.model_copy(update={"general": general})
        try:
            what, sight, weaknesses = asyncio.run(_probe(elsewhere))
        except (AbacoError, TimeoutError) as error:
            reason = error.message if isinstance(error, AbacoError) else "no answer in time"
            yield Finding(
                check="engine",
                level=Level.ERROR,
                what=f"driver {settings.engine.driver}: {reason}",
                remedy=_engine_remedy(settings.engine.driver, reason),
            )
            return
    yield Finding(check="engine", level=Level.OK, what=what)
    for told in statistics.judge(sight) if sight else ():
        yield Finding(
            check="statistics", level=Level(told.level), what=told.what, remedy=told.remedy
        )
    for found in weaknesses:
        level = Level(found.level)
        yield Finding(check="engine", level=level, what=found.what, remedy=found.remedy)


def _engine_remedy(driver: str, reason: str) -> str:
    if "permission denied" not in reason.lower():
        return (
            "start Docker, or install Podman (apt-get install podman runc catatonit);"
            " --driver chooses another engine"
        )
    if driver == "podman":
        return (
            "run as the user whom the socket belongs to, or let [engine] podman_socket name one of"
            " your own (systemctl --user start podman.socket)"
        )
    return (
        "add yourself to the group docker (sudo usermod -aG docker $USER, log in again); who is in"
        " it is as good as root here"
    )


async def _probe(
    settings: Settings,
) -> tuple[str, statistics.Sight | None, Sequence[host.HostFinding]]:
    """Open the driver, ask the engine who it is, and say why it is this one.

    Also returns what it takes to judge its statistics, unless it is a fake, and what it lacks.
    """
    async with asyncio.timeout(_ENGINE_TIMEOUT_S):
        why = "as configured"
        if settings.engine.driver == "auto":
            name, _ = await choose(settings)
            why = _WHY[name].format(engine=settings.engine)
        async with open_driver(settings, "doctor") as opened:
            info = await opened.driver.info()
            sight = None
            if info.driver != "scripted":
                sight = await statistics.look_at_statistics(settings, info)
            weaknesses = await opened.examine()
    return f"{info.driver} {info.version} ({why})", sight, weaknesses


_WHY = {
    "docker": "it answers at {engine.docker_socket}",
    "podman": "it answers at {engine.podman_socket}, and Docker does not",
    "embedded podman": "nothing answers at {engine.docker_socket} or {engine.podman_socket}; the"
    " server starts a Podman service of its own",
}


def check_host(settings: Settings) -> Iterator[Finding]:
    """Check what this host lets containers have, and which engines it has."""
    for finding in host.findings():
        yield Finding(
            check="host", level=Level(finding.level), what=finding.what, remedy=finding.remedy
        )


def check_reach(settings: Settings) -> Iterator[Finding]:
    """Check that containers can call the server, as stateful actors must to write their state."""
    if settings.engine.network == "host":
        yield Finding(check="reach", level=Level.OK, what="containers share this host's network")
    elif settings.engine.network == "none":
        yield Finding(
            check="reach",
            level=Level.WARNING,
            what=f"[engine] network is none: {_UNREACHABLE}",
            remedy="another [engine] network, if actors shall keep state",
        )
    elif settings.web.is_loopback:
        yield Finding(
            check="reach",
            level=Level.WARNING,
            what=f"the server listens on {settings.web.address} only: {_UNREACHABLE}",
            remedy="[engine] network: host if only you use this machine; else a [web] address"
            " containers reach, with default_api_server and access_control (docs/actors.rst)",
        )
    elif _is_this_machine(settings.web.default_api_server):
        yield Finding(
            check="reach",
            level=Level.WARNING,
            what=f"containers are told to call {settings.web.default_api_server}, which is"
            f" themselves: {_UNREACHABLE}",
            remedy="[web] default_api_server: the URL under which containers reach this server",
        )
    else:
        yield Finding(
            check="reach",
            level=Level.OK,
            what=f"containers are told to call {settings.web.default_api_server}",
        )


_UNREACHABLE = "containers cannot call the API, so stateful actors cannot write their state"


def _is_this_machine(url: str) -> bool:
    """Tell whether a URL means whoever asks."""
    name = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name == "localhost" or name.endswith(".localhost")


#: in the order in which they are shown
CHECKS: tuple[Check, ...] = (
    check_python,
    check_data_dir,
    check_database,
    check_large_results,
    check_port,
    check_certificate,
    check_engine,
    check_reach,
    check_api_servers,
    check_bundle,
    check_mounts,
    check_users,
    check_registries,
    check_host,
)


def examine(settings: Settings) -> list[Finding]:
    """Run every check."""
    return [finding for check in CHECKS for finding in check(settings)]
