"""What of the host containers are given, and what never."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from abaco.config import Settings
from abaco.domain.host_access import HostAccess
from abaco.domain.mount import Mount, parse_mounts, resolve_mounts
from abaco.errors import StartFailedError
from abaco.ports.driver import Bind
from backends import host_files
from backends.host_files import Guard, LocalFiles
from tests.support.records import an_actor


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """A directory with one for jane and one for joe."""
    for name in ("jane", "joe"):
        (tmp_path / "work" / name / "shared").mkdir(parents=True)
    return tmp_path / "work"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    engine = {"docker_socket": f"unix://{tmp_path}/engine/docker.sock"}
    return Settings(general={"data_dir": tmp_path / "data"}, engine=engine)


@pytest.fixture
def files(settings: Settings) -> LocalFiles:
    return LocalFiles(Guard.of(settings), skips_missing=False)


def everything(directory: Path) -> list[Path]:
    return sorted(directory.rglob("*"))


def mounts(text: str, home: str = "") -> tuple[Mount, ...]:
    names = {"username": "jane", "tenant_id": "DEV", "tasdir": home}
    return resolve_mounts(parse_mounts(text), names)


def with_mounts(text: str, home: str = "", **fields: Any) -> Any:
    return an_actor(host=HostAccess(mounts=mounts(text, home)), **fields)


async def paths(files: LocalFiles, *args: Any, **fields: Any) -> list[str]:
    return [bind.host_path for bind in await files.binds(with_mounts(*args, **fields))]


async def test_what_is_there_is_given_in_its_mode(files: LocalFiles, work: Path) -> None:
    text = f"{work}/{{username}}:/work:rw, {work}:/all:ro"
    assert await files.binds(with_mounts(text)) == (
        Bind(host_path=f"{work}/jane", container_path="/work", is_read_only=False),
        Bind(host_path=str(work), container_path="/all", is_read_only=True),
    )


async def test_an_actor_without_mounts_costs_no_thread(files: LocalFiles) -> None:
    before = threading.active_count()
    assert await files.binds(an_actor()) == ()
    assert threading.active_count() == before


async def test_files_can_be_mounted_too(files: LocalFiles, work: Path) -> None:
    (work / "motd").write_text("hello")
    assert await paths(files, f"{work}/motd:/etc/motd:ro") == [f"{work}/motd"]


@pytest.mark.parametrize("end", ["missing", "{username}/missing", "motd/below"])
async def test_what_is_missing_fails_the_start_and_is_not_made(
    files: LocalFiles, work: Path, end: str
) -> None:
    (work / "motd").write_text("hello")
    before = everything(work)
    with pytest.raises(StartFailedError, match="it is not there"):
        await files.binds(with_mounts(f"{work}/{end}:/x:rw"))
    assert everything(work) == before


async def test_what_is_missing_is_skipped_where_that_is_wanted(
    settings: Settings, work: Path
) -> None:
    files = LocalFiles(Guard.of(settings), skips_missing=True)
    text = f"{work}/missing:/x:rw, {work}/jane:/y:rw"
    assert await paths(files, text) == [f"{work}/jane"]
    (work / "missing").symlink_to(work / "nowhere")
    assert await paths(files, text) == [f"{work}/jane"]


class TestLinks:
    async def test_those_of_who_configured_it_are_followed(
        self, files: LocalFiles, work: Path
    ) -> None:
        link = work.parent / "link"
        link.symlink_to(work)
        assert await paths(files, f"{link}/{{username}}:/x:rw") == [f"{work}/jane"]
        assert await paths(files, f"{link}/jane:/x:rw") == [f"{work}/jane"]

    @pytest.mark.parametrize("skips_missing", [False, True])
    @pytest.mark.parametrize("target", ["/etc", "../joe", "../../work/joe", "/nowhere", "."])
    async def test_those_of_users_are_not(
        self, settings: Settings, work: Path, target: str, skips_missing: bool
    ) -> None:
        files = LocalFiles(Guard.of(settings), skips_missing=skips_missing)
        (work / "jane" / "shared").rmdir()
        (work / "jane" / "shared").symlink_to(target)
        for text, home in (
            (f"{work}/{{username}}/shared:/x:rw", ""),
            (f"{work}/{{tasdir}}:/x:rw", "jane/shared"),
            ("{tasdir}:/x:rw", f"{work}/jane/shared"),
        ):
            with pytest.raises(StartFailedError, match="is a link"):
                await files.binds(with_mounts(text, home))

    async def test_nor_in_the_middle(self, files: LocalFiles, work: Path) -> None:
        (work / "jane").rename(work / "real")
        (work / "jane").symlink_to("joe")
        with pytest.raises(StartFailedError, match="jane is a link"):
            await files.binds(with_mounts(f"{work}/{{username}}/shared:/x:rw"))


class TestGuard:
    @pytest.fixture
    def engine(self, tmp_path: Path) -> Path:
        (tmp_path / "engine").mkdir()
        (tmp_path / "engine" / "docker.sock").touch()
        (tmp_path / "data" / "ipc").mkdir(parents=True)
        return tmp_path

    @pytest.mark.parametrize(
        "place", ["", "/engine", "/engine/docker.sock", "/data", "/data/ipc", "/by-link"]
    )
    async def test_sockets_and_our_own_files_are_for_privileged_actors(
        self, files: LocalFiles, engine: Path, place: str
    ) -> None:
        (engine / "by-link").symlink_to("engine/docker.sock")
        text = f"{engine}{place}:/x:ro"
        with pytest.raises(StartFailedError, match=r"it would give|it is part of"):
            await files.binds(with_mounts(text))
        assert len(await paths(files, text, privileged=True)) == 1

    async def test_an_owners_home_does_not_hand_them_over(
        self, files: LocalFiles, engine: Path
    ) -> None:
        with pytest.raises(StartFailedError, match="it would give actors"):
            await files.binds(with_mounts("{tasdir}:/x:rw", str(engine / "engine")))

    async def test_what_lies_beside_them_is_free(self, files: LocalFiles, engine: Path) -> None:
        (engine / "engineering").mkdir()
        (engine / "engine" / "other").mkdir()
        text = f"{engine}/engineering:/x:ro, {engine}/engine/other:/y:ro"
        assert len(await paths(files, text)) == 2

    async def test_a_database_elsewhere(self, tmp_path: Path, work: Path) -> None:
        settings = Settings(
            general={"data_dir": tmp_path / "data"}, store={"path": work / "joe" / "abaco.db"}
        )
        files = LocalFiles(Guard.of(settings), skips_missing=False)
        with pytest.raises(StartFailedError, match="it would give"):
            await files.binds(with_mounts(f"{work}:/x:ro"))
        assert await paths(files, f"{work}/jane:/x:ro") == [f"{work}/jane"]


async def test_a_file_server_that_is_away(
    files: LocalFiles, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    release = threading.Event()
    monkeypatch.setattr(host_files, "look", lambda mount: release.wait() and "")
    files._apart._timeout_s = 0.05
    try:
        with pytest.raises(StartFailedError, match="did not answer"):
            await files.binds(with_mounts(f"{work}:/x:ro"))
    finally:
        release.set()
