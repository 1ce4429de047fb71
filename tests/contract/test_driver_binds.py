"""Files, sockets and directories of the host in a container."""

from __future__ import annotations

import asyncio
import socket
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from abaco.errors import StartFailedError
from abaco.ports.driver import Bind, Running
from backends.drivers.scripted import ScriptedDriver, ScriptedEngine
from tests.support.drivers import Lab, read_all, settings
from tests.support.engines import Engine


@pytest.fixture
async def lab(engine: Engine) -> AsyncIterator[Lab]:
    driver = engine.driver(settings(), "mine")
    yield Lab(driver)
    await driver.close()


async def run(lab: Lab, script: str, *binds: Bind) -> bytes:
    return await read_all(await start(lab, script, *binds))


async def start(lab: Lab, script: str, *binds: Bind) -> Running:
    slot = await lab.driver.prepare(await lab.spec())
    return await lab.driver.dispatch(slot, lab.context(script, binds=binds))


async def test_info_says_that_the_engine_sees_our_files(lab: Lab) -> None:
    assert (await lab.driver.info()).sees_our_files


async def test_a_file_can_be_read_and_not_written(lab: Lab, tmp_path: Path) -> None:
    file = tmp_path / "given"
    file.write_bytes(b"secret\0bytes")
    bind = Bind(host_path=str(file), container_path="/_given")
    script = "cat /_given; echo; echo x 2>&1 >/_given; rm /_given 2>&1; ls -l /_given"
    output = await run(lab, script, bind)
    assert output.startswith(b"secret\0bytes\n")
    assert b"Read-only file system" in output
    assert file.read_bytes() == b"secret\0bytes"


async def test_a_directory_takes_files_unless_it_is_read_only(lab: Lab, tmp_path: Path) -> None:
    for name in ("open", "shut"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "found").write_text(f"{name}\n")
    binds = (
        Bind(host_path=str(tmp_path / "open"), container_path="/deep/er/open", is_read_only=False),
        Bind(host_path=str(tmp_path / "shut"), container_path="/shut"),
    )
    script = "exec 2>&1; "  # two streams may be mixed
    script += "cat /deep/er/open/found /shut/found; echo 1 >/deep/er/open/new; echo 2 >/shut/new"
    output = await run(lab, script, *binds)
    assert b"open\nshut\n" in output
    assert (tmp_path / "open" / "new").read_text() == "1\n"
    assert not (tmp_path / "shut" / "new").exists()


@pytest.fixture
def below(tmp_path: Path) -> Iterator[Path]:
    """A directory with a file system of its own."""
    path = tmp_path / "top" / "below"
    path.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "none", str(path)], check=True)
    (path / "inside").touch()
    yield path
    subprocess.run(["umount", "-l", str(path)], check=True)


@pytest.mark.parametrize("is_read_only", [True, False])
async def test_what_is_mounted_below_comes_along_where_it_may_be_written(
    lab: Lab, below: Path, is_read_only: bool
) -> None:
    bind = Bind(host_path=str(below.parent), container_path="/top", is_read_only=is_read_only)
    output = await run(lab, "ls /top/below; echo x >/top/below/written || true", bind)
    assert (b"inside" in output) is not is_read_only
    assert await asyncio.to_thread((below / "written").exists) is not is_read_only


async def test_files_belong_to_the_user_that_wrote_them(lab: Lab, tmp_path: Path) -> None:
    await asyncio.to_thread(tmp_path.chmod, 0o777)
    bind = Bind(host_path=str(tmp_path), container_path="/given", is_read_only=False)
    slot = await lab.driver.prepare(await lab.spec(user="4321:8765"))
    context = lab.context("id -u; id -G; echo x >/given/file; pwd", binds=[bind])
    running = await lab.driver.dispatch(slot, context)
    assert await read_all(running) == b"4321\n8765\n/\n"
    written = await asyncio.to_thread((tmp_path / "file").stat)
    assert (written.st_uid, written.st_gid) == (4321, 8765)


async def test_binds_of_spec_and_context_are_both_given(lab: Lab, tmp_path: Path) -> None:
    binds = []
    for name in ("one", "two"):
        (tmp_path / name).write_text(name)
        binds.append(Bind(host_path=str(tmp_path / name), container_path=f"/_{name}"))
    slot = await lab.driver.prepare(await lab.spec(binds=(binds[0],)))
    running = await lab.driver.dispatch(slot, lab.context("cat /_one /_two", binds=binds[1:]))
    assert await read_all(running) == b"onetwo"


async def test_a_socket_can_be_reached(lab: Lab, tmp_path: Path) -> None:
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(path))
        output = await run(
            lab, "test -S /_s && echo socket", Bind(host_path=str(path), container_path="/_s")
        )
    assert output == b"socket\n"


async def test_what_is_deleted_on_the_host_stays_in_a_running_container(
    lab: Lab, tmp_path: Path
) -> None:
    file = tmp_path / "given"
    file.write_text("still here\n")
    bind = Bind(host_path=str(file), container_path="/_given")
    running = await start(lab, "sleep 1; cat /_given", bind)
    await asyncio.to_thread(file.unlink)
    assert await read_all(running) == b"still here\n"
    assert (await running.wait()).exit_code == 0


async def test_a_missing_path_fails_the_start_and_is_not_made(
    lab: Lab, engine: Engine, tmp_path: Path
) -> None:
    path = tmp_path / "missing"
    with pytest.raises(StartFailedError, match="missing"):
        await start(lab, "true", Bind(host_path=str(path), container_path="/_given"))
    assert not path.exists()
    assert engine.containers() == []


async def test_the_scripted_engine_misses_paths_too(tmp_path: Path) -> None:
    fake = ScriptedEngine()
    fake.images.add("abaco_test_shell")
    lab = Lab(ScriptedDriver(fake, "mine"))
    bind = Bind(host_path=str(tmp_path / "missing"), container_path="/_given")
    with pytest.raises(StartFailedError, match="missing"):
        await start(lab, "true", bind)
    assert fake.containers == {}
    (tmp_path / "missing").touch()
    await start(lab, "true", bind)
    (container,) = fake.containers.values()
    assert container.context.binds == (bind,)
