"""From what a client sent to an actor's definition: defaults, and who may set what."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from abaco.domain.actor import DEFAULT_QUEUE, ActorDefinition
from abaco.domain.caller import Caller
from abaco.domain.context import check_environment, is_reserved, python_text
from abaco.domain.image import check_image
from abaco.domain.limits import MIN_NANO_CPUS, NO_NETWORK, check_memory, check_run_time
from abaco.domain.webhook import check_secret
from abaco.errors import InvalidInputError, TooLargeError

ACTOR_TYPES = ("none", "bin", "json")

#: the name becomes a variable of every container
MAX_NAME_LENGTH = 1024

#: written for "no limit"
UNLIMITED = -1

#: range of integers every store can hold
MAX_INTEGER = 2**63 - 1

#: attributes that only privileged callers may set to anything but "off"
PRIVILEGED_ATTRIBUTES = (
    "privileged",
    "max_workers",
    "max_cpus",
    "mem_limit",
    "queue",
    "use_container_uid",
)

_FORBIDDEN_IN_HINTS = frozenset("\"'{}[]")


@dataclass(frozen=True, slots=True, kw_only=True)
class ActorDraft:
    """The attributes a client sent; None means not sent."""

    image: str | None = None
    name: str | None = None
    description: str | None = None
    stateless: bool | None = None
    type: str | None = None
    token: bool | None = None
    link: str | None = None
    webhook: str | None = None
    webhook_secret: str | None = field(default=None, repr=False)
    hints: tuple[str, ...] | None = None
    privileged: bool | None = None
    max_workers: int | None = None
    mem_limit: str | None = None
    max_cpus: int | None = None
    queue: str | None = None
    use_container_uid: bool | None = None
    default_environment: Mapping[str, Any] | None = None
    log_ex: int | None = None
    max_run_time: int | None = None
    read_only_rootfs: bool | None = None
    network: str | None = None
    cron_schedule: str | None = None
    cron_on: bool | None = None


def define(
    draft: ActorDraft,
    caller: Caller,
    *,
    default_token: str,
    queues: Collection[str] = (DEFAULT_QUEUE,),
    run_time_cap_s: int = UNLIMITED,
    previous: ActorDefinition | None = None,
) -> ActorDefinition:
    """Make the definition a draft asks for.

    Args:
        draft: What the client sent. What is missing gets its default.
        caller: Decides whether privileged attributes are allowed.
        default_token: What ``token`` is when not sent.
        queues: The queues there are.
        run_time_cap_s: Seconds that runs of all actors may last; not above 0 for no limit.
        previous: The definition that is replaced; name is kept from it, and stateless when
            not sent.

    Raises:
        InvalidInputError: Names the field.

    """
    _check_rights(draft, caller)
    _check_values(draft)
    check_run_time(draft.max_run_time, run_time_cap_s)
    if draft.queue and draft.queue not in queues:
        raise InvalidInputError(
            f"unknown queue; there is {', '.join(map(repr, queues))}", field="queue"
        )
    stateless = draft.stateless
    if stateless is None:
        stateless = True if previous is None else previous.stateless
    if previous is not None and stateless and not previous.stateless:
        raise InvalidInputError("a stateful actor cannot become stateless", field="stateless")
    if not stateless and draft.max_workers is not None:
        raise InvalidInputError("stateful actors can only have 1 worker", field="max_workers")
    return ActorDefinition(
        image=check_image(draft.image or ""),
        name=draft.name if previous is None else previous.name,
        description=draft.description or "",
        stateless=stateless,
        type=draft.type or "none",
        token=default_token if draft.token is None else draft.token,
        link=draft.link or "",
        webhook=draft.webhook or "",
        hints=draft.hints or (),
        privileged=bool(draft.privileged),
        max_workers=draft.max_workers,
        mem_limit=draft.mem_limit,
        max_cpus=draft.max_cpus,
        queue=draft.queue or DEFAULT_QUEUE,
        use_container_uid=bool(draft.use_container_uid),
        default_environment=dict(draft.default_environment or {}),
        log_ex=draft.log_ex,
        max_run_time=draft.max_run_time,
        read_only_rootfs=bool(draft.read_only_rootfs),
        network=draft.network or None,
    )


def _check_rights(draft: ActorDraft, caller: Caller) -> None:
    """Refuse privileged attributes of others."""
    if caller.is_privileged:
        return
    for name in PRIVILEGED_ATTRIBUTES:
        value = getattr(draft, name)
        # naming the queue everybody uses is no privilege
        if value and not (name == "queue" and value == DEFAULT_QUEUE):
            raise InvalidInputError("only privileged users may set this attribute", field=name)


def _check_values(draft: ActorDraft) -> None:
    if draft.name is not None and len(draft.name) > MAX_NAME_LENGTH:
        raise InvalidInputError(f"at most {MAX_NAME_LENGTH} characters", field="name")
    if draft.type and draft.type not in ACTOR_TYPES:
        raise InvalidInputError(f"must be one of {', '.join(ACTOR_TYPES)}", field="type")
    if draft.webhook_secret:
        check_secret(draft.webhook_secret)
    if draft.mem_limit is not None:
        check_memory(draft.mem_limit)
    if draft.network and draft.network != NO_NETWORK:
        raise InvalidInputError(f"must be {NO_NETWORK!r}, or nothing", field="network")
    _check_integer("max_workers", draft.max_workers, least=1)
    _check_integer("log_ex", draft.log_ex, least=-1)
    if draft.max_cpus != UNLIMITED:
        _check_integer("max_cpus", draft.max_cpus, least=MIN_NANO_CPUS)
    if draft.max_run_time != UNLIMITED:
        _check_integer("max_run_time", draft.max_run_time, least=1)
    for hint in draft.hints or ():
        if not _FORBIDDEN_IN_HINTS.isdisjoint(hint):
            raise InvalidInputError("no quotes, braces or brackets in a hint", field="hints")
    _check_default_environment(draft.default_environment or {})


def _check_integer(field: str, value: int | None, *, least: int) -> None:
    if value is not None and not least <= value <= MAX_INTEGER:
        raise InvalidInputError(f"must be {least} or more, and fit 64 bits", field=field)


def _check_default_environment(environment: Mapping[str, Any]) -> None:
    """Refuse what could never be given to a container, now and not at every message."""
    try:
        check_environment(
            {
                # null leaves a name out, but it has to be one
                name: "" if value is None else python_text(value)
                for name, value in environment.items()
                if not is_reserved(name)
            }
        )
    except (InvalidInputError, TooLargeError) as error:
        raise InvalidInputError(error.message, field="default_environment") from error
