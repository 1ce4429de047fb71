"""A tenant full of things to be found, the same in every store, and random questions about it."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from hypothesis import strategies as st

from abaco.domain.actor import Actor
from abaco.domain.execution import Execution, ExecutionStatus, IoDetail, Outcome
from abaco.domain.permission import WORLD, Level
from abaco.domain.search import Operator, SearchKind
from abaco.domain.worker import WorkerStatus
from abaco.ports.store import Stores
from tests.support.records import (
    NOON,
    TENANT,
    a_cron,
    a_host,
    a_message,
    a_worker,
    an_actor,
    an_execution,
    an_outcome,
    at,
)
from tests.support.stores import claim, enqueue

#: whom the questions come from
READER = "rita"

#: words that meet each other often, and some that trip a careless store
WORDS = ("alpha", "Alpha", "beta", "alpha beta", "alpha_beta", "5", "true", "none", "É", "%", "")
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(0, 6) | st.just(2.5) | st.sampled_from(WORDS),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(st.sampled_from(("a", "b", 'q"t', "é", "StartedAt")), inner, max_size=2)
    ),
    max_leaves=4,
)
TIMES = st.integers(-3, 3).map(lambda n: at(n * 0.0007))


@dataclass(frozen=True)
class Population:
    """What is put into a store, in order."""

    actors: Sequence[Actor]
    levels: Sequence[tuple[int, str, Level]]
    runs: Sequence[tuple[Execution, Outcome | None, bytes | None, datetime | None]]
    workers: int


async def populate(stores: Stores, population: Population) -> None:
    """Put everything in, by the ways a server has."""
    for actor in population.actors:
        await stores.actors.insert(actor)
        # somebody must, whatever the others lose
        await stores.permissions.grant(actor.key.shared, "keeper", Level.UPDATE)
        for number in range(population.workers):
            worker = a_worker(actor, id=f"w{number}{actor.id}", host_id=str(number))
            await stores.workers.request(worker, limit=9)
    for number, user, level in population.levels:
        key = population.actors[number % len(population.actors)].key.shared
        await stores.permissions.grant(key, user, level)
    for execution, outcome, output, expires_at in population.runs:
        await enqueue(stores, execution, a_message(execution))
        if output is not None:
            await stores.logs.append(execution.key, 0, output, max_bytes=20, expires_at=expires_at)
        if outcome is not None:
            await _end(stores, execution, outcome)


async def _end(stores: Stores, execution: Execution, outcome: Outcome) -> None:
    """Run the one message that waits for this actor to its end."""
    actor = await stores.actors.get(execution.key.actor)
    worker = a_worker(actor, id=f"x{execution.id}", status=WorkerStatus.READY)
    await stores.workers.request(worker, limit=10**6)
    taken = await claim(stores, worker)
    key, attempt = taken.execution.key, taken.execution.attempt
    if outcome.exit_code is not None:
        await stores.mailbox.mark_running(key, attempt, "c1", at(1))
    await stores.mailbox.finalize(key, attempt, outcome, now=at(3))


def outcomes() -> st.SearchStrategy[Outcome]:
    states = (
        st.none()
        | st.just({})
        | st.dictionaries(
            st.sampled_from(("StartedAt", "Status", "OOMKilled", "é")),
            st.sampled_from(("2024-02-29T12:00:00.123Z", "exited", "2024", True, 3)),
            max_size=3,
        )
    )
    return st.builds(
        an_outcome,
        status=st.sampled_from((ExecutionStatus.COMPLETE, ExecutionStatus.ERROR)),
        finish_time=TIMES,
        exit_code=st.none() | st.integers(0, 6),
        final_state=states,
        error=st.sampled_from(("", "alpha", 'é"\\')),
        cpu_ns=st.integers(0, 6),
        io_detail=st.builds(IoDetail, net_rx=st.integers(0, 3), blk_write=st.integers(0, 3)),
        memory_peak_bytes=st.integers(0, 6),
        runtime_ms=st.sampled_from((0, 999, 1000, 5500)),
    )


@st.composite
def populations(draw: st.DrawFn) -> Population:
    """Draw a few actors with what belongs to them; many records have the same age."""
    actors = [
        an_actor(
            id=f"a{number}",
            owner=draw(st.sampled_from((READER, "sam"))),
            tenant=draw(st.sampled_from((*[TENANT] * 5, "OTHER"))),
            create_time=draw(TIMES),
            last_update_time=draw(TIMES),
            status_message=draw(st.sampled_from(WORDS)),
            state=draw(JSON_VALUES),
            name=draw(st.none() | st.sampled_from(WORDS)),
            image=draw(st.sampled_from(("alpha/beta:5", "beta"))),
            hints=tuple(draw(st.lists(st.sampled_from(WORDS), max_size=2))),
            token=draw(st.sampled_from((True, False, "false"))),
            stateless=draw(st.booleans()),
            privileged=draw(st.booleans()),
            max_workers=draw(st.none() | st.integers(1, 6)),
            max_cpus=draw(st.sampled_from((None, -1, 2**62))),
            max_run_time=draw(st.sampled_from((None, -1, 5))),
            read_only_rootfs=draw(st.booleans()),
            network=draw(st.sampled_from((None, "none"))),
            default_environment=draw(
                st.dictionaries(st.sampled_from(("a", "b.c", 'q"t', "é")), JSON_VALUES, max_size=2)
            ),
        )
        for number in range(draw(st.integers(1, 3)))
    ]
    levels = draw(
        st.lists(
            st.tuples(
                st.integers(0, 2), st.sampled_from((READER, WORLD)), st.sampled_from(tuple(Level))
            ),
            max_size=4,
        )
    )
    runs = [
        (
            an_execution(
                draw(st.sampled_from(actors)),
                id=f"e{number}",
                message_received_time=draw(TIMES),
                executor=draw(st.sampled_from(("sam", "alpha"))),
            ),
            None,
            draw(st.none() | st.sampled_from((b"", b"alpha beta", b"\xc3", b"x" * 30, b"Alpha\0"))),
            draw(st.sampled_from((None, NOON, NOON + timedelta(hours=1)))),
        )
        for number in range(draw(st.integers(0, 5)))
    ]
    # an actor's messages end in the order they came, and some never do
    ended = draw(st.integers(0, len(runs)))
    runs = [
        (*run[:1], draw(outcomes()), *run[2:]) if number < ended else run
        for number, run in enumerate(runs)
    ]
    return Population(
        actors=[replace(actor) for actor in actors],
        levels=levels,
        runs=runs,
        workers=draw(st.integers(0, 2)),
    )


def rich_population() -> Population:
    """Build one of everything: whatever a field can hold, some record holds it."""
    nested = {"a": {"b": 5}, "b": ["alpha", [5]], "é": True, 'q"t': "É", "StartedAt": "2024"}
    kinds: list[dict[str, Any]] = [
        {"name": "alpha", "state": nested, "token": True, "hints": ("alpha", "beta")},
        {"name": "Alpha beta", "image": "alpha/beta:5", "max_workers": 5, "stateless": False},
        {"name": "5", "state": "alpha", "privileged": True, "max_cpus": 2**62, "token": False},
        {"name": "", "state": [1, 2.5, None], "default_environment": {"a": "5", "b.c": 1}},
        {"name": None, "state": None, "status_message": "alpha_beta", "create_time": at(-0.0004)},
    ]
    kinds[1]["cron"] = a_cron(schedule="now + 1 day", next_at=at(60))
    kinds[2]["cron"] = a_cron(schedule="5 6 * * *", is_on=False)
    kinds[3]["cron"] = a_cron(schedule="alpha", next_at=None)
    kinds[1]["host"] = a_host(uid=5)
    kinds[4]["host"] = a_host(gid=5, tasdir="alpha", mounts=())
    actors = [
        an_actor(id=f"a{number}", owner="sam", **fields) for number, fields in enumerate(kinds)
    ]
    states = [None, {}, {"StartedAt": "2024-02-29T12:00:00.123Z", "OOMKilled": True}]
    outcomes = [
        an_outcome(exit_code=0, final_state=states[2], cpu_ns=5, runtime_ms=5999),
        an_outcome(exit_code=None, final_state=states[0], error="alpha"),
        an_outcome(exit_code=3, final_state=states[1], finish_time=at(-1), runtime_ms=999),
        an_outcome(exit_code=5, final_state={"Status": "exited"}, error='é"', cpu_ns=1),
    ]
    outputs = [b"alpha beta", None, b"x" * 30, b"Alpha\0 alpha \xc3", None]
    runs = [
        (
            an_execution(
                actors[number % 2],
                id=f"e{number}",
                executor="sam" if number else "alpha",
                message_received_time=at(number * 0.0007),
            ),
            outcomes[number] if number < len(outcomes) else None,
            output,
            at(0) if number == 5 else None,
        )
        for number, output in enumerate([*outputs, b"beta"])
    ]
    levels = [
        (0, READER, Level.READ), (1, WORLD, Level.READ), (2, READER, Level.UPDATE),
        (3, READER, Level.EXECUTE), (4, WORLD, Level.UPDATE),
    ]  # fmt: skip
    return Population(actors=actors, levels=levels, runs=runs, workers=2)


#: fields by what suits them
TEXT, NUMBER, SWITCH, TIME, ANY = "text", "number", "switch", "time", "any"

FIELDS: Mapping[SearchKind, Mapping[str, Sequence[str]]] = {
    SearchKind.ACTORS: {
        TEXT: ("id", "owner", "name", "image", "status", "status_message", "hints", "token"),
        NUMBER: ("max_run_time", "max_workers", "maxWorkers", "max_cpus", "revision"),
        SWITCH: ("stateless", "privileged", "token", "cron_on"),
        TIME: ("create_time", "createTime", "last_update_time", "state.StartedAt"),
        ANY: (
            "cron_schedule", "cron_next_ex",
            "uid", "gid", "tasdir", "mounts",
            "state", "state.a", "state.b", "state.a.b", "state.é", 'state.q"t',
            "default_environment", "default_environment.a", "default_environment.b.c",
            'default_environment.q"t', "name.a", "tenant", "api_server", "_links", "unknown",
        ),
    },
    SearchKind.EXECUTIONS: {
        TEXT: ("id", "actor_id", "executor", "status", "worker_id", "final_state.Error"),
        NUMBER: ("exit_code", "cpu", "io", "runtime", "runtime_ms", "memory_peak"),
        SWITCH: ("final_state.OOMKilled",),
        TIME: ("message_received_time", "start_time", "finish_time", "final_state.StartedAt"),
        ANY: (
            "exit_code", "final_state", "final_state.Status", "final_state.unavailable",
            "io_detail", "io_detail.net_rx", "io_detail.blk_write", "io_detail.unknown",
        ),
    },
    SearchKind.WORKERS: {
        TEXT: ("id", "actor_id", "status", "image", "host_id", "cid", "ch_name"),
        NUMBER: ("host_id",),
        SWITCH: ("status",),
        TIME: ("create_time", "last_execution_time", "last_health_check_time"),
        ANY: ("image.a", "tenant", "unknown"),
    },
    SearchKind.LOGS: {
        TEXT: ("logs", "actor_id", "execution_id"),
        NUMBER: ("logs",),
        SWITCH: ("logs",),
        TIME: ("create_time",),
        ANY: ("logs", "logs", "unknown"),
    },
}  # fmt: skip

VALUES: Mapping[str, Sequence[str]] = {
    TEXT: (
        *WORDS, "a0", "e0", "alpha/beta:5", "sam", READER, "COMPLETE", "ERROR", "SUBMITTED",
        "REQUESTED", "exited", "^a", "(a|b)+", "LIMIT", "x{20}", "alpha beta", "0", "1",
    ),
    NUMBER: (
        "0", "1", "2", "3", "5", "2.5", "-1", "4611686018427387904", "1e999", "0,5", "-1,2.5",
        "undetermined", "none",
    ),
    SWITCH: ("true", "false", "False", "none", "1", "0"),
    TIME: (
        "2024", "2024-02-29T12:00:00.123Z", "2024-02-29T12:00:00.124Z", "none", "2024,2025",
        "2024-02-29T12:00:00.122Z,2024-02-29T12:00:00.123Z", "2024-02-29T14:00:00.123+02:00",
    ),
    ANY: (
        *WORDS, "2024-2-29 12", "5 6 * * *", "[]", "{}", '{"a": 5}', '{"unavailable": true}', "2.5",
        "1", "[[]]", "a",
    ),
}  # fmt: skip

#: for "in" and "nin"
LISTS: Mapping[str, Sequence[str]] = {
    TEXT: ('["alpha", "sam", "e0", "a0"]', "['COMPLETE', 'REQUESTED']", "[]", "[null, 5]"),
    NUMBER: ("[0, 1, 2.5]", '["undetermined", null]', "[true]"),
    SWITCH: ("[true]", "[false, null]", "[1, 0]"),
    TIME: ('["2024-02-29T12:00:00.123Z", "2024"]', "[null]", "[5]"),
    ANY: ('["alpha", 5, null, true]', "[[]]", "[2.5, 0, {}]"),
}


@st.composite
def questions(draw: st.DrawFn) -> tuple[SearchKind, Mapping[str, list[str]], str | None]:
    """Draw what a client may ask, right or wrong, and an actor it may ask about."""
    kind = draw(st.sampled_from(tuple(SearchKind)))
    parameters: dict[str, list[str]] = {}
    for _ in range(draw(st.integers(0, 2))):
        suited = draw(st.sampled_from(tuple(VALUES)))
        key = draw(st.sampled_from(FIELDS[kind][suited]))
        operator = draw(st.sampled_from(("", *(f".{each}" for each in Operator))))
        values = LISTS if operator in (".in", ".nin") else VALUES
        parameters.setdefault(key + operator, []).append(draw(st.sampled_from(values[suited])))
    for key in ("search", "exactsearch"):
        if draw(st.integers(0, 5)) == 0:
            texts = st.lists(st.sampled_from(VALUES[TEXT]), min_size=1, max_size=2)
            parameters[key] = draw(texts)
    for key in ("limit", "skip"):
        if draw(st.integers(0, 3)) == 0:
            parameters[key] = [str(draw(st.integers(0, 3)))]
    return kind, parameters, draw(st.sampled_from((None, None, None, "a0", "a1", "nobody")))


def every_condition(kind: SearchKind) -> Iterator[Mapping[str, list[str]]]:
    """Yield every field of a kind with every operator and every value that suits one of them."""
    for suited, names in FIELDS[kind].items():
        for name, operator in itertools.product(names, Operator):
            is_list = operator.positive is Operator.IN
            values = LISTS[suited] if is_list else {*VALUES[suited], *VALUES[ANY]}
            for value in sorted(values):
                yield {f"{name}.{operator}": [value]}


def as_seen(items: Sequence[Any]) -> list[Any]:
    """Make records comparable whatever kinds of mappings they hold."""
    return [repr(item) for item in items]
