"""Private engines for tests: real ones, each with directories of its own.

A private engine sees no container or image of the host's own engines, may be killed at will, and
takes all it made with it. Both need root, as the engines do. Where an engine is not installed
its tests are skipped, with the reason.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from abaco.config import Settings
from backends.drivers import docker, podman, podman_containers
from backends.drivers.engine import EngineDriver
from backends.drivers.engine_http import EngineHttp
from backends.drivers.host import engine_needs, look
from tests.support import session
from tests.support.images import (
    ACTORS,
    PYTHON_ACTORS,
    ImageConfig,
    find_busybox,
    rootfs_tar,
)
from tests.support.python_image import python_tar

START_S = 30.0


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path, timeout_s: float) -> None:
        super().__init__("engine", timeout=timeout_s)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


class Engine(ABC):
    """One engine in a directory of its own."""

    #: docker or podman, the driver's name
    kind: str
    program: str
    #: prefix of the engine's native paths
    base: str

    def __init__(self) -> None:
        # engines keep sockets below it, whose paths must be short
        self.directory = session.engine_directory(self.kind)
        self.socket_path = self.directory / "engine.sock"
        self.endpoint = f"unix://{self.socket_path}"
        self.process: subprocess.Popen[bytes] | None = None
        self._was_killed = False

    @abstractmethod
    def command(self) -> list[str]:
        """The engine's command line."""

    def environment(self) -> dict[str, str]:
        """The engine's process environment."""
        return dict(os.environ)

    def start(self) -> None:
        """Start it and wait until it answers."""
        with (self.directory / "engine.log").open("ab") as log:
            self.process = subprocess.Popen(
                self.command(),
                cwd=self.directory,
                env=self.environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        deadline = time.monotonic() + START_S
        while True:
            try:
                self.request("GET", f"{self.base}/info")
                return
            except OSError:  # not there yet
                if self.process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"{self.kind} does not start:\n{self.log()}") from None
                time.sleep(0.05)

    def stop(self, signal_number: int = signal.SIGTERM) -> None:
        """End the engine's process; what its containers do then is the engine's affair."""
        process, self.process = self.process, None
        assert process is not None
        process.send_signal(signal_number)
        process.wait(START_S)

    def kill(self) -> None:
        """End the engine as a crash does."""
        self._was_killed = True
        self.stop(signal.SIGKILL)

    def log(self) -> str:
        """The engine's own log, its last lines."""
        lines = (self.directory / "engine.log").read_text(errors="replace").splitlines()
        return "\n".join(lines[-40:])

    def request(
        self, method: str, path: str, *, body: bytes = b"", query: Mapping[str, Any] | None = None
    ) -> Any:
        """Make a plain call to the engine's API, apart from the code under test."""
        with contextlib.closing(_UnixConnection(self.socket_path, START_S)) as connection:
            target = f"{path}?{urlencode(query, doseq=True)}" if query else path
            # a refusal may come before the body is out
            with contextlib.suppress(BrokenPipeError):
                kind = "application/json" if body.startswith(b"{") else "application/x-tar"
                connection.request(method, target, body, {"Content-Type": kind})
            response = connection.getresponse()
            data = response.read()
        if response.status >= 400:
            raise RuntimeError(f"{method} {path}: {response.status} {data.decode()}")
        try:
            return json.loads(data)
        except ValueError:
            return data

    def containers(self) -> list[dict[str, Any]]:
        """Every container there is, as the engine describes it."""
        return list(
            self.request("GET", f"{self.base}/containers/json", query={"all": "true"}) or []
        )

    @contextlib.contextmanager
    def reaches(self, port: int) -> Iterator[None]:
        """Let containers on network ``host`` reach a port of this host's loopback address.

        The private engines live in the host's own network, so there is nothing to do.
        """
        yield

    @abstractmethod
    def import_image(self, name: str, tar: bytes, config: ImageConfig) -> None:
        """Make an image of a root file system."""

    def inspect(self, container_id: str) -> Any:
        """The engine's description of one container."""
        return self.request("GET", f"{self.base}/containers/{container_id}/json")

    def remove(self, container_id: str) -> None:
        """Remove a container, by force."""
        path = f"{self.base}/containers/{container_id}"
        self.request("DELETE", path, query={"force": "true", "v": "true"})

    def remove_all(self) -> None:
        """Remove every container, by force."""
        for container in self.containers():
            with contextlib.suppress(RuntimeError):
                self.remove(container["Id"])

    def report(self) -> str:
        """Say what there is, for the message of a failed test."""
        lines = [f"{item['Id'][:12]} {item['State']} {item['Names']}" for item in self.containers()]
        return "\n".join([f"--- containers of {self.kind}", *lines, "--- its log", self.log()])

    @abstractmethod
    def driver(self, settings: Settings, instance_id: str) -> EngineDriver:
        """Build the driver under test on this engine."""

    def close(self) -> None:
        """End it and everything it made."""
        try:
            if self.process is None or self.process.poll() is not None:
                self.start()
            self.remove_all()
        finally:
            if self.process is not None:
                self.stop()
            self.clean_up()
            if self._was_killed:
                self._end_forgotten()
            self._delete()

    def _end_forgotten(self) -> None:
        """End containers the engine made and was killed before it wrote that down.

        They wait for a start that nobody will order, and no engine finds them again.
        """
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):  # it has ended meanwhile
                if session.is_tied(process, lambda text: f"{self.directory}/" in text):
                    os.kill(int(process.name), signal.SIGKILL)

    def _delete(self) -> None:
        for line in Path("/proc/self/mountinfo").read_text().splitlines():
            if (mounted := line.split()[4]).startswith(f"{self.directory}/"):
                subprocess.run(["umount", "-l", mounted], check=False)
        shutil.rmtree(self.directory, ignore_errors=True)

    @abstractmethod
    def clean_up(self) -> None:
        """End what outlives the engine's process."""


class PrivateDocker(Engine):
    """A dockerd with a bridge of its own: with none, it would delete the host's docker0.

    Args:
        live_restore: Whether its containers survive it.

    """

    kind = "docker"
    program = "dockerd"
    base = docker.BASE

    def __init__(self, *, live_restore: bool = True) -> None:
        super().__init__()
        self._live_restore = live_restore
        self._containerd: subprocess.Popen[bytes] | None = None
        self._bridge = f"ab{session.NAME}{secrets.token_hex(2)}"

    def command(self) -> list[str]:
        here = self.directory
        return [
            "dockerd",
            f"--host={self.endpoint}",
            f"--data-root={here / 'data'}",
            f"--exec-root={here / 'exec'}",
            f"--containerd={here / 'cd.sock'}",
            f"--pidfile={here / 'docker.pid'}",
            f"--bridge={self._bridge}",
            "--iptables=false",
            "--ip6tables=false",
            "--ip-forward=false",
            f"--live-restore={str(self._live_restore).lower()}",
            "--shutdown-timeout=2",
        ]

    def start(self) -> None:
        if self._containerd is None:
            self._make_bridge()
            self.start_containerd()
        # a killed dockerd leaves its file, and refuses to start while the number is in use
        (self.directory / "docker.pid").unlink(missing_ok=True)
        super().start()

    def _make_bridge(self) -> None:
        # any address will do, as long as no two engines share it; nothing is routed there
        address = f"10.{secrets.randbelow(200) + 20}.{secrets.randbelow(250)}.1/24"
        for command in (
            ["link", "add", self._bridge, "type", "bridge"],
            ["address", "add", address, "dev", self._bridge],
        ):
            subprocess.run(["ip", *command], check=True)

    def kill_containerd(self) -> None:
        """End containerd as a crash does; its containers run on."""
        containerd, self._containerd = self._containerd, None
        assert containerd is not None
        containerd.kill()
        containerd.wait(START_S)

    def start_containerd(self) -> None:
        """Start a containerd apart from dockerd, as a packaged Docker has it."""
        here = self.directory
        config = here / "containerd.toml"
        config.write_text(
            f'version = 2\nroot = "{here}/cd"\nstate = "{here}/cs"\n'
            'disabled_plugins = ["io.containerd.grpc.v1.cri"]\n'
            f'[grpc]\naddress = "{here}/cd.sock"\n'
        )
        with (here / "containerd.log").open("ab") as log:
            self._containerd = subprocess.Popen(
                ["containerd", "--config", str(config)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def remove(self, container_id: str) -> None:
        parent = self.inspect(container_id)["HostConfig"]["CgroupParent"]
        super().remove(container_id)
        if parent:
            # the driver removes the group above a container's own; here the driver may be gone
            for hierarchy in Path("/sys/fs/cgroup").iterdir():
                for group in (parent, *map(str, list(Path(parent).parents)[:-1])):
                    with contextlib.suppress(OSError):
                        (hierarchy / group.lstrip("/")).rmdir()

    def import_image(self, name: str, tar: bytes, config: ImageConfig) -> None:
        repository, _, tag = name.partition(":")
        query = {"fromSrc": "-", "repo": repository, "tag": tag or "latest"}
        answer = self.request(
            "POST",
            f"{self.base}/images/create",
            body=tar,
            query=query | {"changes": config.changes()},
        )
        assert "error" not in str(answer), answer

    def driver(self, settings: Settings, instance_id: str) -> EngineDriver:
        http = EngineHttp(self.endpoint, timeout_s=settings.engine.call_timeout_s)
        return docker.build_driver(http, settings, instance_id)

    def clean_up(self) -> None:
        containerd, self._containerd = self._containerd, None
        if containerd is not None:
            containerd.terminate()
            containerd.wait(START_S)
            subprocess.run(["ip", "link", "delete", self._bridge], check=False)


class PrivatePodman(Engine):
    """A Podman service with storage, state and network directory of its own."""

    kind = "podman"
    program = "podman"
    base = podman_containers.BASE

    def __init__(self) -> None:
        super().__init__()
        here = self.directory
        needs = engine_needs(look())
        #: what containers on this host must be limited to
        self.ulimits = needs.ulimits
        self.options = [
            *podman_options(here),
            *(["--runtime", needs.runtime] if needs.runtime else []),
            *(["--cgroup-manager", needs.cgroup_manager] if needs.cgroup_manager else []),
        ]
        (here / "containers.conf").write_text('[engine]\nlock_type = "file"\n')
        (here / "registries.conf").write_text(
            '[[registry]]\nlocation = "127.0.0.1"\ninsecure = true\n'
        )

    def environment(self) -> dict[str, str]:
        return super().environment() | {
            "CONTAINERS_CONF": str(self.directory / "containers.conf"),
            "CONTAINERS_REGISTRIES_CONF": str(self.directory / "registries.conf"),
        }

    def command(self) -> list[str]:
        return ["podman", *self.options, "system", "service", "--time", "0", self.endpoint]

    def import_image(self, name: str, tar: bytes, config: ImageConfig) -> None:
        query = {"reference": f"localhost/{name}", "changes": config.changes()}
        self.request("POST", f"{self.base}/images/import", body=tar, query=query)

    def driver(self, settings: Settings, instance_id: str) -> EngineDriver:
        http = EngineHttp(self.endpoint, timeout_s=settings.engine.call_timeout_s)
        return podman.build_driver(http, settings, instance_id, engine_needs(look()))

    def clean_up(self) -> None:
        """Nothing: the monitors go with their containers."""


def podman_options(directory: Path) -> list[str]:
    """Global options by which Podman keeps everything below one directory."""
    return [
        f"--root={directory / 'root'}",
        f"--runroot={directory / 'runroot'}",
        f"--tmpdir={directory / 'tmp'}",
        f"--network-config-dir={directory / 'networks'}",
    ]


ENGINES: Mapping[str, type[Engine]] = {"docker": PrivateDocker, "podman": PrivatePodman}

#: for ``pytest.fixture(params=...)``; the marks let a run choose
ENGINE_PARAMS = [pytest.param(name, marks=getattr(pytest.mark, name)) for name in ENGINES]


def why_not(name: str) -> str | None:
    """Say why an engine cannot run here; None when it can."""
    program = ENGINES[name].program
    if shutil.which(program, path="/usr/local/bin:/usr/bin:/usr/sbin:/sbin:/bin") is None:
        return f"{program} is not installed"
    if os.geteuid() != 0:
        return f"a private {name} needs root"
    if find_busybox() is None:
        return "no static busybox to make images of (Debian: busybox-static)"
    return None


@contextlib.contextmanager
def running_engine(name: str, **options: Any) -> Iterator[Engine]:
    """Start a private engine with all actor images; skips the test where that is not possible."""
    if reason := why_not(name):
        pytest.skip(reason)
    engine = ENGINES[name](**options)
    engine.start()
    try:
        tar = rootfs_tar()
        for image, config in ACTORS.items():
            rootfs = python_tar(tar) if image in PYTHON_ACTORS else tar
            engine.import_image(image, rootfs, config)
        yield engine
    finally:
        engine.close()


class EnginePool:
    """Private engines by kind, each started when first asked for."""

    def __init__(self, stack: contextlib.ExitStack) -> None:
        self._stack = stack
        self._engines: dict[str, Engine] = {}

    def get(self, kind: str) -> Engine:
        """Return a running engine; skips the test where there is none."""
        if kind not in self._engines:
            self._engines[kind] = self._stack.enter_context(running_engine(kind))
        engine = self._engines[kind]
        if engine.process is None:
            engine.start()
        return engine

    @contextlib.contextmanager
    def lend(self, kind: str, session: pytest.Session) -> Iterator[Engine]:
        """Give an engine to one test: up at its start, and emptied at its end."""
        engine = self.get(kind)
        failures = session.testsfailed
        try:
            yield engine
        finally:
            self.get(kind)
            if session.testsfailed > failures:
                print(engine.report())  # noqa: T201 - pytest shows it with the failure
            engine.remove_all()


@pytest.fixture(scope="session")
def engine_pool() -> Iterator[EnginePool]:
    """The private engines of this run."""
    with contextlib.ExitStack() as stack:
        yield EnginePool(stack)


@pytest.fixture(params=ENGINE_PARAMS)
def engine(engine_pool: EnginePool, request: pytest.FixtureRequest) -> Iterator[Engine]:
    """Each kind of real engine in turn."""
    with engine_pool.lend(request.param, request.session) as engine:
        yield engine
