"""The output of real containers: complete, in order, from any byte on."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest

from abaco.errors import ContainerMissingError
from tests.support.drivers import Lab, read_all, settings
from tests.support.engines import Engine


@pytest.fixture
async def lab(engine: Engine) -> AsyncIterator[Lab]:
    driver = engine.driver(settings(), "mine")
    yield Lab(driver)
    await driver.close()


async def test_ten_thousand_short_lines(lab: Lab) -> None:
    output, _ = await lab.run("seq 10000")
    assert output == b"".join(b"%d\n" % number for number in range(1, 10001))


@pytest.mark.parametrize("round_", range(10))
async def test_burst_and_immediate_exit_loses_nothing(lab: Lab, round_: int) -> None:
    output, end = await lab.run(f"seq {2000 + round_}; exit 5")
    assert output.splitlines()[-1] == b"%d" % (2000 + round_)
    assert len(output.splitlines()) == 2000 + round_
    assert end.exit_code == 5


async def test_hundred_thousand_lines_then_exit(lab: Lab) -> None:
    output, end = await lab.run("seq 100000; exit 6")
    assert output == b"".join(b"%d\n" % number for number in range(1, 100_001))
    assert end.exit_code == 6


async def test_twenty_megabytes_then_exit(lab: Lab) -> None:
    line = b"0123456789" * 200
    running = await lab.start(f"yes {line.decode()} | head -c 20000000")
    digest, size = hashlib.sha256(), 0
    async with aclosing(running.output()) as chunks:  # type: ignore[type-var]
        async for chunk in chunks:
            assert len(chunk) <= 1_000_000, "the output is streamed, not gathered"
            digest.update(chunk)
            size += len(chunk)
    line += b"\n"
    expected = (line * (20_000_000 // len(line) + 1))[:20_000_000]
    assert size == 20_000_000
    assert digest.digest() == hashlib.sha256(expected).digest()


async def test_one_line_of_a_hundred_kilobytes(lab: Lab) -> None:
    output, _ = await lab.run("head -c 100000 /dev/zero | tr '\\0' x; echo; echo end")
    assert output == b"x" * 100_000 + b"\nend\n"


async def test_output_without_trailing_newline(lab: Lab) -> None:
    output, _ = await lab.run("printf 'no end'")
    assert output == b"no end"


async def test_output_after_a_silence(lab: Lab) -> None:
    output, _ = await lab.run("echo before; sleep 2; echo after")
    assert output == b"before\nafter\n"


async def test_output_in_pieces_of_a_line(lab: Lab) -> None:
    output, _ = await lab.run("for i in 1 2 3; do printf $i; sleep 0.2; done; echo; printf end")
    assert output == b"123\nend"


async def test_bytes_that_are_no_text(lab: Lab) -> None:
    output, _ = await lab.run("printf 'a\\377\\376\\0b\\r\\n\\r\\n\\n\\303 '")
    raw = b"a\xff\xfe\x00b\r\n\r\n\n\xc3 "
    # Docker keeps the log as text
    assert output in (raw, raw.decode(errors="replace").encode())
    assert await read_all(lab.ran[-1], 3) == output[3:]


async def test_no_output_at_all(lab: Lab) -> None:
    output, end = await lab.run("exit 0")
    assert output == b""
    assert end.exit_code == 0


async def test_both_streams_are_merged(lab: Lab) -> None:
    output, _ = await lab.run("echo one; sleep 2; echo two >&2; sleep 2; echo three")
    assert output == b"one\ntwo\nthree\n"


async def test_output_comes_while_it_runs(lab: Lab) -> None:
    running = await lab.start("echo first; sleep 60")
    async with asyncio.timeout(30), aclosing(running.output()) as chunks:  # type: ignore[type-var]
        assert await anext(chunks) == b"first\n"
    await running.stop(0)


async def test_every_offset_gives_the_rest(lab: Lab) -> None:
    whole, _ = await lab.run("seq 3000; printf 'no end'")
    running = lab.ran[-1]
    for offset in (0, 1, 7, 4096, len(whole) - 1, len(whole), len(whole) + 10):
        assert await read_all(running, offset) == whole[offset:], offset


async def test_offset_survives_adoption_in_mid_output(lab: Lab, engine: Engine) -> None:
    running = await lab.start("for i in $(seq 40); do echo line $i; sleep 0.05; done")
    first = b""
    async with aclosing(running.output()) as chunks:  # type: ignore[type-var]
        async for chunk in chunks:
            first += chunk
            if len(first) > 60:
                break
    other = engine.driver(settings(), "mine")
    adopted = await other.adopt(running.container_id)
    rest = await read_all(adopted, len(first))
    end = await adopted.wait()
    await other.close()
    assert first + rest == b"".join(b"line %d\n" % number for number in range(1, 41))
    assert end.exit_code == 0


async def test_slow_consumer_holds_nobody_up_and_misses_nothing(lab: Lab) -> None:
    running = await lab.start("seq 50000")
    size = 0
    async with aclosing(running.output()) as chunks:  # type: ignore[type-var]
        async for chunk in chunks:
            size += len(chunk)
            await asyncio.sleep(0.01)
    assert size == sum(len(str(number)) + 1 for number in range(1, 50_001))
    assert (await running.wait()).exit_code == 0


async def test_output_ends_with_the_container_not_with_its_streams(lab: Lab) -> None:
    running = await lab.start("echo said; exec >/dev/null 2>&1; sleep 1.5; exit 9")
    assert await read_all(running) == b"said\n"
    inspected = [item for item in await lab.driver.list_owned() if item.is_running]
    assert inspected == []
    assert (await running.wait()).exit_code == 9


async def test_output_of_a_removed_container_is_missing(lab: Lab) -> None:
    running = await lab.start("echo x")
    await running.wait()
    await lab.driver.remove(running.container_id)
    with pytest.raises(ContainerMissingError):
        await read_all(running)


async def test_left_output_closes_its_connection(lab: Lab, engine: Engine) -> None:
    running = await lab.start("while :; do echo x; sleep 0.01; done")
    for _ in range(30):
        async with aclosing(running.output()) as chunks:  # type: ignore[type-var]
            await anext(chunks)
    reading = [task for task in asyncio.all_tasks() if "/logs" in task.get_name()]
    assert reading == []
    await running.stop(0)
