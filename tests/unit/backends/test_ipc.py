from __future__ import annotations

import asyncio
import os
import socket
import stat
from collections.abc import AsyncIterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from abaco.errors import ConfigError, NotFoundError, StartFailedError, TooLargeError
from abaco.ports.ipc import Delivery, Ipc, IpcHost, Place, place_of
from backends.ipc import open_ipc
from tests.support.records import an_actor, an_execution

PLACE = Place("worker1", "execution1.1")
LIMIT = 1000


@pytest.fixture
async def host(tmp_path: Path) -> AsyncIterator[IpcHost]:
    async with open_ipc(tmp_path / "ipc") as host:
        yield host


@pytest.fixture
def message(tmp_path: Path) -> Path:
    path = tmp_path / "blob"
    path.write_bytes(b"binary\0message")
    path.chmod(0o444)
    return path


async def opened(host: IpcHost, delivery: Delivery | None = None, place: Place = PLACE) -> Ipc:
    return await host.open(place, max_result_bytes=LIMIT, delivery=delivery)


def sender(ipc: Ipc) -> socket.socket:
    """Connect as a program in a container does, for which the path is short."""
    results = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    directory = os.open(Path(ipc.binds[0].host_path).parent, os.O_PATH)
    try:
        results.connect(f"/proc/self/fd/{directory}/results.sock")
    finally:
        os.close(directory)
    return results


def send_until_full(results: socket.socket) -> int:
    for count in range(10_000):
        try:
            results.send(b"%d" % count)
        except BlockingIOError:
            return count
    raise AssertionError("the kernel takes everything")


def read_until_empty(descriptor: int) -> bytes:
    """Read a pipe as the published client does."""
    received = b""
    while True:
        try:
            received += os.read(descriptor, 4069)
        except BlockingIOError:
            return received


async def test_results_come_in_order_each_as_it_was_sent(host: IpcHost) -> None:
    ipc = await opened(host)
    with closing(sender(ipc)) as results:
        sent = [b"one", b"\0\xff", b"x" * LIMIT]
        for result in sent:
            results.send(result)
        assert [each.data for each in await ipc.receive()] == sent
        waiting = asyncio.ensure_future(ipc.receive())
        await asyncio.sleep(0.01)
        assert not waiting.done()
        results.send(b"later")
        assert [each.data for each in await waiting] == [b"later"]
    await ipc.close()


async def test_empty_results_are_none(host: IpcHost) -> None:
    ipc = await opened(host)
    with closing(sender(ipc)) as results:
        for result in (b"", b"one", b""):
            results.send(result)
        assert [each.data for each in await ipc.receive()] == [b"one"]
    await ipc.close()


@pytest.mark.parametrize("size", [LIMIT + 1, 150_000])
async def test_a_result_above_the_limit_is_refused_whole(host: IpcHost, size: int) -> None:
    ipc = await opened(host)
    with closing(sender(ipc)) as results:
        for result in (b"before", b"x" * size, b"after"):
            results.send(result)
        assert await ipc.receive() == [(b"before", 6), (b"", size), (b"after", 5)]
    await ipc.close()


async def test_what_was_sent_before_the_end_is_still_received(host: IpcHost) -> None:
    ipc = await opened(host)
    with closing(sender(ipc)) as results:
        results.send(b"last words")
    ipc.end()
    ipc.end()
    assert [each.data for each in await ipc.receive()] == [b"last words"]
    assert await ipc.receive() == []
    await ipc.close()


async def test_the_end_wakes_who_waits(host: IpcHost) -> None:
    ipc = await opened(host)
    waiting = asyncio.ensure_future(ipc.receive())
    await asyncio.sleep(0.01)
    ipc.end()
    assert await asyncio.wait_for(waiting, 1) == []
    await ipc.close()


async def test_who_is_not_read_waits(host: IpcHost) -> None:
    ipc = await opened(host)
    with closing(sender(ipc)) as results:
        results.setblocking(False)
        count = send_until_full(results)
        assert 0 < count < 1000
        received = [each.data for each in await ipc.receive()]
        assert received == [b"%d" % number for number in range(count)]
        results.send(b"room again")
        assert [each.data for each in await ipc.receive()] == [b"room again"]
    await ipc.close()


async def test_anybody_may_send_and_nobody_else_may_look(host: IpcHost, tmp_path: Path) -> None:
    ipc = await opened(host)
    (bind,) = ipc.binds
    assert (bind.container_path, bind.is_read_only) == ("/_abaco_results.sock", True)
    status = Path(bind.host_path).stat()
    assert stat.S_ISSOCK(status.st_mode)
    assert status.st_mode & 0o777 == 0o777
    assert (tmp_path / "ipc").stat().st_mode & 0o777 == 0o700
    await ipc.close()


async def test_nobody_else_comes_to_what_containers_leave(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o755)  # as the top of a file system of its own is
    async with open_ipc(tmp_path / "ipc", shared) as host:
        ipc = await host.open(PLACE, max_result_bytes=LIMIT, delivery=None, takes_files=True)
        assert stat.S_IMODE((shared / PLACE.worker / PLACE.attempt).stat().st_mode) == 0o777
        assert stat.S_IMODE((shared / PLACE.worker).stat().st_mode) == 0o700
        await ipc.close()
    assert list(shared.iterdir()) == []


async def test_the_path_may_be_longer_than_an_address(tmp_path: Path) -> None:
    deep = tmp_path.joinpath(*["directory-with-a-name"] * 10)
    async with open_ipc(deep) as host:
        ipc = await opened(host)
        assert len(ipc.binds[0].host_path) > 200
        with closing(sender(ipc)) as results:
            results.send(b"from the deep")
        assert [each.data for each in await ipc.receive()] == [b"from the deep"]
        await ipc.close()


async def test_a_message_is_a_link_to_its_blob(host: IpcHost, message: Path) -> None:
    ipc = await opened(host, Delivery(str(message)))
    bind = ipc.binds[1]
    assert (bind.container_path, bind.is_read_only) == ("/_abaco_binary_data", True)
    assert Path(bind.host_path).samefile(message)
    message.unlink()
    assert Path(bind.host_path).read_bytes() == b"binary\0message"
    await ipc.close()


async def test_a_pipe_holds_the_whole_message_and_does_not_end(
    host: IpcHost, tmp_path: Path
) -> None:
    body = os.urandom(300_000)
    (tmp_path / "blob").write_bytes(body)
    ipc = await opened(host, Delivery(str(tmp_path / "blob"), as_pipe=True))
    path = Path(ipc.binds[1].host_path)
    assert stat.S_ISFIFO(path.stat().st_mode)
    assert path.stat().st_mode & 0o777 == 0o444
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    assert read_until_empty(descriptor) == body
    os.close(descriptor)
    await ipc.close()


async def test_a_message_above_the_size_of_pipes_is_refused(host: IpcHost, tmp_path: Path) -> None:
    with (tmp_path / "blob").open("wb") as file:
        file.truncate(2**31)
    with pytest.raises(TooLargeError, match="pipe on this host can hold"):
        await opened(host, Delivery(str(tmp_path / "blob"), as_pipe=True))
    assert await host.list_places() == []


@pytest.mark.parametrize("as_pipe", [False, True])
async def test_a_blob_that_is_gone(host: IpcHost, tmp_path: Path, as_pipe: bool) -> None:
    with pytest.raises(NotFoundError, match="gone"):
        await opened(host, Delivery(str(tmp_path / "none"), as_pipe=as_pipe))
    assert await host.list_places() == []


async def test_closing_removes_everything(host: IpcHost, message: Path, tmp_path: Path) -> None:
    ipc = await opened(host, Delivery(str(message)))
    assert await host.list_places() == [PLACE]
    await ipc.close()
    await ipc.close()
    assert await host.list_places() == []
    assert list((tmp_path / "ipc").iterdir()) == []
    assert message.exists()


async def test_detached_files_stay_and_can_be_removed_by_their_place(host: IpcHost) -> None:
    ipc = await opened(host)
    other = await opened(host, place=Place("worker1", "execution2.1"))
    ipc.detach()
    ipc.detach()
    assert sorted(await host.list_places()) == [PLACE, Place("worker1", "execution2.1")]
    await host.remove([PLACE, Place("never", "there")])
    assert await host.list_places() == [Place("worker1", "execution2.1")]
    await other.close()


async def test_an_earlier_try_of_the_attempt_is_in_nobodys_way(host: IpcHost) -> None:
    (await opened(host)).detach()
    ipc = await opened(host)
    with closing(sender(ipc)) as results:
        results.send(b"new")
    assert [each.data for each in await ipc.receive()] == [b"new"]
    await ipc.close()


async def test_opening_while_a_sweep_removes_the_workers_directory(host: IpcHost) -> None:
    for _ in range(50):
        ipc, _ = await asyncio.gather(opened(host), host.remove([Place("worker1", "other.1")]))
        await ipc.close()


async def test_cancelled_in_mid_opening_nothing_stays_open(tmp_path: Path) -> None:
    def descriptors() -> int:
        return len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - a list of the kernel's

    async with open_ipc(tmp_path / "ipc") as host:
        before = descriptors()
        for _ in range(20):
            opening = asyncio.ensure_future(opened(host))
            await asyncio.sleep(0)
            opening.cancel()
            with pytest.raises(asyncio.CancelledError):
                await opening
        for _ in range(4):  # the threads work in order; what was begun is done then
            await host.list_places()
        await asyncio.sleep(0.2)
        assert descriptors() <= before + 1


async def test_a_host_that_cannot_make_files_fails_the_start(host: IpcHost, tmp_path: Path) -> None:
    (tmp_path / "ipc" / "worker1").write_text("in the way")
    with pytest.raises(StartFailedError, match="cannot be made"):
        await opened(host)


async def test_a_root_that_cannot_be_made_stops_the_start(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file")
    with pytest.raises(ConfigError, match="data_dir"):
        async with open_ipc(tmp_path / "data" / "ipc"):
            pass


async def test_files_of_nobody_are_gone_at_the_end() -> None:
    async with open_ipc(None) as host:
        ipc = await opened(host)
        path = Path(ipc.binds[0].host_path)
        ipc.detach()
        assert path.exists()
    assert not path.exists()


def test_a_place_names_worker_execution_and_attempt() -> None:
    execution = an_execution(an_actor(), id="e1", worker_id="w1", attempt=3)
    assert place_of(execution) == Place("w1", "e1.3")


async def with_files(host: IpcHost) -> tuple[Ipc, Path]:
    ipc = await host.open(PLACE, max_result_bytes=LIMIT, delivery=None, takes_files=True)
    bind = ipc.binds[1]
    assert (bind.container_path, bind.is_read_only) == ("/_abaco_results.d", False)
    return ipc, Path(bind.host_path)


async def test_left_files_are_read_by_name(host: IpcHost) -> None:
    ipc, left = await with_files(host)
    assert left.stat().st_mode & 0o777 == 0o777
    assert await ipc.list_left(limit=9) == ([], 0)
    for name in ("b", "a", ".unfinished"):
        (left / name).write_text(name * 3)
    assert await ipc.list_left(limit=9) == (["a", "b"], 2)
    assert await ipc.list_left(limit=1) == (["a"], 2)
    assert await ipc.read_left("a", max_bytes=3) == ("a", b"aaa", "")
    await ipc.close()
    assert not left.exists()


async def test_what_is_no_plain_file_is_not_read(host: IpcHost, tmp_path: Path) -> None:
    ipc, left = await with_files(host)
    (tmp_path / "secret").write_text("of the host")
    (left / "link").symlink_to(tmp_path / "secret")
    (left / "directory").mkdir()
    os.mkfifo(left / "pipe")
    (left / "empty").touch()
    (left / "large").write_bytes(b"x" * 1001)
    with socket.socket(socket.AF_UNIX) as listener:
        descriptor = os.open(left, os.O_PATH)
        listener.bind(f"/proc/self/fd/{descriptor}/socket")
        os.close(descriptor)
    with suppress(PermissionError):  # /dev/zero, which never ends
        os.mknod(left / "zero", stat.S_IFCHR | 0o666, os.makedev(1, 5))
    names, count = await ipc.list_left(limit=99)
    assert len(names) == count >= 6
    faults = {"empty": "it is empty", "large": "it has 1001 bytes, the limit is 1000"}
    for name in names:
        file = await asyncio.wait_for(ipc.read_left(name, max_bytes=1000), 5)
        assert file == (name, None, faults.get(name, "it is no plain file"))
    assert (await ipc.read_left("vanished", max_bytes=1000)).data is None
    await ipc.close()
    assert not left.exists()
    assert (tmp_path / "secret").read_text() == "of the host"


async def test_directories_nested_beyond_any_path_are_removed(host: IpcHost) -> None:
    ipc, left = await with_files(host)
    (left / "escape").symlink_to("/")
    await asyncio.to_thread(nest, left, 3000)
    await ipc.close()
    assert await host.list_places() == []
    assert Path("/proc").exists()


def nest(top: Path, depth: int) -> None:
    """Make directories in each other, as a program can that walks along."""
    parent = os.open(top, os.O_RDONLY)
    for _ in range(depth):
        os.mkdir("down", dir_fd=parent)
        child = os.open("down", os.O_RDONLY, dir_fd=parent)
        os.close(parent)
        parent = child
    os.close(os.open("file", os.O_CREAT | os.O_WRONLY, dir_fd=parent))
    os.close(parent)


async def test_what_an_earlier_process_left_can_be_taken_over(host: IpcHost) -> None:
    ipc, left = await with_files(host)
    (left / "a").write_text("later")
    ipc.detach()
    found = host.adopt(PLACE)
    assert found.binds == ()
    assert await found.receive() == []
    assert await found.list_left(limit=9) == (["a"], 1)
    assert (await found.read_left("a", max_bytes=10)).data == b"later"
    await found.close()
    assert await host.list_places() == []
    assert await host.adopt(Place("never", "there.1")).list_left(limit=9) == ([], 0)


async def test_what_is_left_may_have_a_file_system_of_its_own(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    (disk / "lost+found" / "of somebody else").mkdir(parents=True)
    async with open_ipc(tmp_path / "ipc", disk / "abaco-1") as host:
        ipc, left = await with_files(host)
        assert left == disk / "abaco-1" / "worker1" / "execution1.1"
        assert (disk / "abaco-1").stat().st_mode & 0o777 == 0o700
        (left / "a").write_text("1")
        assert await host.list_places() == [PLACE]
        await ipc.close()
        assert await host.list_places() == []
        ipc, left = await with_files(host)
        ipc.detach()
        assert not list(left.iterdir())
        (tmp_path / "ipc" / "worker1" / "execution1.1" / "results.sock").unlink()
        (tmp_path / "ipc" / "worker1" / "execution1.1").rmdir()
        assert await host.list_places() == [PLACE]  # half of it is there
        await host.remove([PLACE])
        assert await host.list_places() == []
    assert (disk / "lost+found" / "of somebody else").exists()


async def test_that_file_system_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"runtime\.large_results_dir"):
        async with open_ipc(tmp_path / "ipc", tmp_path / "unmounted" / "abaco-1"):
            pass


async def test_it_is_emptied_where_nothing_lasts(tmp_path: Path) -> None:
    async with open_ipc(None, tmp_path / "abaco-1") as host:
        ipc, left = await with_files(host)
        (left / "a").write_text("1")
        ipc.detach()
    assert not list(tmp_path.iterdir())
