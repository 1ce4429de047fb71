"""What a run adds to the metrics."""

from __future__ import annotations

from datetime import timedelta

from prometheus_client import REGISTRY

from abaco.config import Settings
from abaco.domain.execution import ExecutionStatus, IoDetail
from agents.reaper import Reaper
from backends.drivers.scripted import Act
from tests.support.house import QUICK, a_house, an_engine
from tests.support.records import an_audit_record


def value(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


def stages() -> dict[str, float]:
    names = ("queue_wait", "claim", "token", "start", "run", "finalize", "remove")
    return {name: value("abaco_execution_stage_seconds_count", stage=name) for name in names}


async def test_each_stage_is_measured() -> None:
    before = stages()
    async with a_house() as house:
        actor = await house.register()
        await house.final(await house.post(actor))
        await house.no_containers()
    after = stages()
    for name in before:
        if name == "claim":  # an idle worker looks, too
            assert after[name] > before[name]
        else:
            assert after[name] == before[name] + 1, name


async def test_output_is_counted_also_what_is_not_kept() -> None:
    web = QUICK.web.model_copy(update={"max_log_length": 10})
    settings = QUICK.model_copy(update={"web": web})
    read, cut = value("abaco_log_bytes_total"), value("abaco_logs_truncated_total")
    engine = an_engine(Act(output=[b"x" * 8, b"y" * 8]))
    async with a_house(engine, settings) as house:
        actor = await house.register()
        for _ in range(2):
            await house.final(await house.post(actor))
    assert value("abaco_log_bytes_total") == read + 32
    assert value("abaco_logs_truncated_total") == cut + 2


async def test_starts_that_fail_are_counted_by_kind() -> None:
    before = value("abaco_start_failures_total", kind="start_failed")
    engine = an_engine(Act(start_error="no such command"))
    async with a_house(engine) as house:
        actor = await house.register()
        execution = await house.final(await house.post(actor))
        assert execution.status is ExecutionStatus.ERROR
    tries = QUICK.runtime.max_start_failures + 1
    assert value("abaco_start_failures_total", kind="start_failed") == before + tries


async def _left(settings: Settings) -> list[str]:
    """Return whose records a round of the reaper leaves of the audit log."""
    async with a_house(settings=settings) as house:
        now = house.services.clock.now()
        for days in (400, 31, 29, 0):
            time = now - timedelta(days=days)
            await house.stores.audit.append(an_audit_record(time=time, user=str(days)))
        await Reaper(house.crew.kit).round()
        return [record.user for record in await house.stores.audit.list_records()]


async def test_old_records_of_the_audit_log_are_forgotten_when_that_is_wished() -> None:
    for days, left in ((30, ["29", "0"]), (365, ["31", "29", "0"]), (-1, ["400", "31", "29", "0"])):
        logs = QUICK.logs.model_copy(update={"audit_days": days})
        assert await _left(QUICK.model_copy(update={"logs": logs})) == left


async def test_what_runs_used_is_added_up() -> None:
    io = IoDetail(net_rx=5, net_tx=6, blk_read=7, blk_write=8)
    known = Act(cpu_ns=2_500_000_000, io_detail=io, memory_peak_bytes=2**23)
    before = [value("abaco_execution_cpu_seconds_total"), *_io_values()]
    peaks = value("abaco_execution_memory_peak_bytes_count")
    for act, expected in ((known, known), (Act(), Act())):
        async with a_house(an_engine(act)) as house:
            execution = await house.final(await house.post(await house.register()))
            assert execution.outcome is not None
            assert execution.outcome.cpu_ns == expected.cpu_ns
            assert execution.outcome.io_bytes == expected.io_detail.net_rx
            assert execution.outcome.io_detail == expected.io_detail
            assert execution.outcome.memory_peak_bytes == expected.memory_peak_bytes
    after = [value("abaco_execution_cpu_seconds_total"), *_io_values()]
    assert [b - a for a, b in zip(before, after, strict=True)] == [2.5, 5, 6, 7, 8]
    # what is not known is no small peak
    assert value("abaco_execution_memory_peak_bytes_count") == peaks + 1


def _io_values() -> list[float]:
    kinds = ("net_rx", "net_tx", "blk_read", "blk_write")
    return [value("abaco_execution_io_bytes_total", kind=kind) for kind in kinds]
