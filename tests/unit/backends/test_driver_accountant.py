"""The accountant's books, with real processes in real control groups."""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import subprocess
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from backends.drivers import accountant as module
from backends.drivers.accountant import Accountant, make_accountant
from backends.drivers.cgroups import kernel_text, read_mounts
from backends.drivers.used import Used
from tests.support.drivers import settings
from tests.support.loads import groups_below

#: seconds on the clock the kernel counts with
BURN = "import time\nwhile time.process_time() < 0.2: pass"
PARENT = f"/abaco-test-books-{os.getpid()}"


def mounts() -> list[Path]:
    found = read_mounts(kernel_text(Path("/proc/self/mountinfo")))
    # a new group of cpuset takes no process before it is told more
    return [mount.point for mount in found if "cpuset" not in mount.controllers]


class Jail:
    """A control group in every hierarchy, as an engine makes it for a container."""

    def __init__(self, path: str) -> None:
        self.places = [mount / path.lstrip("/") for mount in mounts()]

    def make(self) -> Jail:
        for place in self.places:
            try:
                place.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                pytest.skip(f"no control group can be made here: {error}")
        return self

    def spawn(self, code: str) -> subprocess.Popen[bytes]:
        """Start a first process of a new pid and network namespace in it."""
        return self.run('exec unshare --net --pid --fork --kill-child python3 -c "$0"', code)

    def run(self, script: str, *arguments: str, **pipes: int) -> subprocess.Popen[bytes]:
        """Start an ordinary process in it."""
        join = "".join(f"echo $$ > {place}/cgroup.procs\n" for place in self.places)
        return subprocess.Popen(["sh", "-c", join + script, *arguments], **pipes)

    def remove(self) -> None:
        for place in self.places:
            if place.is_dir():
                place.rmdir()


@pytest.fixture
def container_id() -> str:
    return secrets.token_hex(32)


@pytest.fixture
def jail(container_id: str) -> Iterator[Jail]:
    jail = Jail(f"{PARENT}/one/abaco_x_1/{container_id}").make()
    yield jail
    for path in (f"{PARENT}/one/abaco_x_1/{container_id}", f"{PARENT}/one/abaco_x_1"):
        Jail(path).remove()
    Jail(f"{PARENT}/one").remove()
    Jail(PARENT).remove()


@pytest.fixture
async def books() -> AsyncIterator[Accountant]:
    books = Accountant(parent=f"{PARENT}/one")
    yield books
    await books.close()
    assert "accountant" not in {thread.name for thread in threading.enumerate()}


async def ended(process: subprocess.Popen[bytes]) -> None:
    assert await asyncio.to_thread(process.wait, 30) == 0


async def test_book_is_closed_at_the_end_of_the_process(
    books: Accountant, jail: Jail, container_id: str
) -> None:
    with books.expecting(container_id, [f"{PARENT}/one/abaco_x_1/{container_id}"]):
        process = jail.spawn(f"{BURN}\ntime.sleep(0.3)")
        await asyncio.sleep(0.3)
    await ended(process)
    jail.remove()
    used = await books.settle(container_id)
    assert 180_000_000 < used.cpu_ns < 900_000_000
    assert used.memory_peak_bytes > 1_000_000
    assert used.io_bytes == used.net_tx_bytes == used.oom_kills == 0
    assert await books.settle(container_id) == used


async def test_end_of_the_process_is_told_to_who_waits(
    books: Accountant, jail: Jail, container_id: str
) -> None:
    process = jail.run("echo in; read line", stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    with process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert await asyncio.to_thread(process.stdout.readline) == b"in\n"
        books.watch(container_id, process.pid)
        waits = [asyncio.ensure_future(books.ended(container_id)) for _ in range(3)]
        assert await books.is_alive(container_id)
        waits[0].cancel()  # one that goes away spoils nothing for the others
        _, pending = await asyncio.wait(waits, timeout=0.1)
        assert len(pending) == 2
        process.stdin.close()
        async with asyncio.timeout(5):
            await asyncio.gather(*waits[1:])
            assert not await books.is_alive(container_id)
            await books.ended(container_id)
            await books.settle(container_id)
            await books.ended(container_id)


async def test_end_of_a_process_elsewhere_is_never_told(
    books: Accountant, container_id: str
) -> None:
    books.watch(container_id, os.getpid())  # which is in no such container
    assert not await books.is_alive(container_id)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await books.ended(container_id)


async def test_own_group_tells_of_what_nobody_saw(
    books: Accountant, jail: Jail, container_id: str
) -> None:
    await ended(jail.spawn(BURN))
    jail.remove()
    assert await books.settle("another") == Used()
    books.name(container_id, "abaco_x_1")
    used = await books.settle(container_id)
    assert 180_000_000 < used.cpu_ns < 900_000_000
    assert await books.list_groups() == ["abaco_x_1"]
    books.forget(container_id)
    assert await books.list_groups() == []
    assert await books.settle(container_id) == Used()


async def test_what_prepares_a_container_is_not_its_first_process(
    books: Accountant, jail: Jail, container_id: str
) -> None:
    process = jail.run("exec sleep 0.3")
    path = f"{PARENT}/one/abaco_x_1/{container_id}"
    await asyncio.sleep(0.1)
    assert await books.find(container_id, [path]) == 0
    await ended(process)


async def test_process_of_another_container_is_not_taken_for_it(books: Accountant) -> None:
    books.watch("f" * 64, os.getpid())
    books.watch("e" * 64, 2**22 + 1)
    assert await books.settle("f" * 64) == Used()
    assert await books.find("f" * 64, ["/no/such/group"]) == 0


async def test_groups_with_a_container_in_them_stay(
    books: Accountant, jail: Jail, container_id: str
) -> None:
    await books.remove_groups(["abaco_x_1", "never-there"])
    assert await books.list_groups() == ["abaco_x_1"]
    jail.remove()
    await books.remove_groups(["abaco_x_1"])
    assert groups_below(f"{PARENT}/one") == []


async def test_engine_that_makes_its_groups_elsewhere_is_told_no_more(
    books: Accountant, caplog: pytest.LogCaptureFixture
) -> None:
    assert await books.group_path("abaco_x_1") == f"{PARENT}/one/abaco_x_1"
    books.made("c", "abaco_x_1")
    assert books.own_path("c") == f"{PARENT}/one/abaco_x_1"
    assert books.own_path("another") is None
    with caplog.at_level(logging.WARNING):
        assert await books.settle("c") == Used()
    assert "not those of this host" in caplog.text
    assert await books.group_path("abaco_y_1") is None


async def test_without_a_place_there_are_no_groups() -> None:
    books = Accountant()
    assert await books.group_path("x") is None
    assert await books.list_groups() == []
    books.name("c", "x")
    books.forget("c")
    await books.close()
    await books.close()


async def test_sums_of_samples(
    jail: Jail, container_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SAMPLE_S", 0.1)
    books = Accountant(is_legacy=True)
    with books.expecting(container_id, [f"{PARENT}/one/abaco_x_1/{container_id}"]):
        process = jail.spawn(f"{BURN}\ntime.sleep(0.8)")
        await asyncio.sleep(0.3)
    await ended(process)
    used = await books.settle(container_id)
    # at least five of the samples see all of it
    assert used.cpu_ns > 5 * 180_000_000
    assert used.memory_peak_bytes > 1_000_000
    assert await books.settle("unseen") == Used()
    await books.close()


async def test_failure_on_the_thread_reaches_who_asked_and_ends_nothing(
    books: Accountant, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise ValueError("odd text in a file of the kernel")

    with monkeypatch.context() as patch, caplog.at_level(logging.ERROR):
        patch.setattr(module, "read_processes", fail)
        with pytest.raises(ValueError, match="odd text"):
            await books.find("c", ["/"])
    assert "odd text" in caplog.text
    caplog.clear()
    assert await books.settle("c") == Used()


@pytest.mark.parametrize("is_failure", [False, True])
async def test_who_goes_away_before_the_answer_ends_nothing(
    books: Accountant,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    is_failure: bool,
) -> None:
    release = threading.Event()
    began = asyncio.Event()
    loop = asyncio.get_running_loop()

    def stand_still(_: str) -> SimpleNamespace:
        loop.call_soon_threadsafe(began.set)
        release.wait(10)
        return SimpleNamespace(is_closed=True)

    monkeypatch.setattr(books, "_book_of", stand_still)
    first = asyncio.create_task(books.is_alive("one"))
    await began.wait()
    done: list[str] = []

    def work(name: str | None, _: object = None) -> object:
        done.append(str(name))
        if is_failure:
            raise OSError("not to be read")
        return Used(), False

    monkeypatch.setattr(books, "_settle", work)
    second = asyncio.create_task(books.settle("two"))
    await asyncio.sleep(0)
    for task in (first, second):
        task.cancel()
    await asyncio.gather(first, second, return_exceptions=True)
    release.set()
    assert await asyncio.wait_for(books.list_groups(), 10) == []
    assert done == ["two"]
    assert ("accounting of a container failed" in caplog.text) is is_failure
    assert "Traceback" not in caplog.text


@pytest.mark.parametrize("name", ["read_counts", "read_traffic", "read_processes"])
async def test_failure_nobody_asked_for_costs_numbers_and_not_the_thread(
    books: Accountant,
    jail: Jail,
    container_id: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    name: str,
) -> None:
    def fail(*_: object) -> None:
        raise ValueError("odd text in a file of the kernel")

    path = f"{PARENT}/one/abaco_x_1/{container_id}"
    with caplog.at_level(logging.ERROR):
        process = jail.spawn("import time; time.sleep(0.5)")
        with books.expecting(container_id, [path]):
            await asyncio.sleep(0.2)
            monkeypatch.setattr(module, name, fail)
            with books.expecting("another", [path]):
                await ended(process)
        async with asyncio.timeout(5):
            assert (await books.settle(container_id)).oom_kills == 0
            assert await books.settle("another") == Used()
    assert "odd text" in caplog.text
    caplog.clear()


@pytest.fixture
def odd_mount(tmp_path: Path) -> Iterator[None]:
    """A disk at a place with a name as users choose them."""
    place = os.fsencode(tmp_path) + b"/\xff\x0c\xc2\x85"
    Path(os.fsdecode(place)).mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "tmpfs", place], check=False).returncode:
        pytest.skip("nothing can be mounted here")
    yield
    subprocess.run(["umount", place], check=True)


@pytest.mark.usefixtures("odd_mount")
async def test_mounts_may_have_any_name(books: Accountant, jail: Jail, container_id: str) -> None:
    await ended(jail.spawn(BURN))
    books.name(container_id, "abaco_x_1")
    async with asyncio.timeout(10):
        assert (await books.settle(container_id)).cpu_ns > 180_000_000


async def test_closed_books_are_not_kept_for_ever(
    books: Accountant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_CLOSED", 2)
    for container_id in ("a", "b", "c"):
        await books.settle(container_id)
    assert set(books._closed) == {"b", "c"}


@pytest.mark.parametrize(
    ("network", "is_counted"), [("bridge", True), ("none", True), ("host", False)]
)
def test_shared_networks_are_not_counted(network: str, is_counted: bool) -> None:
    books = make_accountant(settings(network=network), "i")
    assert books._counts_network is is_counted


def test_place_of_the_groups() -> None:
    assert make_accountant(settings(cgroup_parent="/a/b"), "i")._parent == "/a/b/i"
    assert make_accountant(settings(cgroup_parent=""), "i")._parent is None
    assert make_accountant(settings(), None)._parent is None
