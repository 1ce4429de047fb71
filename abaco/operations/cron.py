"""Decide what becomes of an actor's schedule, and make the message of a slot."""

from __future__ import annotations

from datetime import datetime

from abaco.domain.actor import Actor
from abaco.domain.context import CONTENT_TYPE_TEXT
from abaco.domain.cron import Cron, CronChange, SetCron, SwitchCron, begin
from abaco.domain.execution import Execution
from abaco.domain.ids import ExecutionId
from abaco.domain.message import Message
from abaco.errors import InvalidInputError
from abaco.operations.definition import ActorDraft
from abaco.operations.services import Services
from abaco.ports.intake import Submission

#: who sends, and what. Source: api of the older Abaco
EXECUTOR = "cron"
MESSAGE = "This is your cron execution"


def decide(draft: ActorDraft, present: Cron | None, now: datetime) -> CronChange | None:
    """Return what a draft wants of the schedule; None when it does not say.

    A schedule that is sent is on, unless the draft says off. The one there is, sent again, stays
    on its slots: a client that sends back what it read changes nothing.

    Args:
        draft: ``cron_schedule`` None is not sent, empty is none any more.
        present: The schedule there is.
        now: When the draft came.

    Raises:
        InvalidInputError: Names the field.

    """
    schedule, is_on = draft.cron_schedule, draft.cron_on
    if is_on and not (present if schedule is None else schedule):
        raise InvalidInputError("there is no cron_schedule to switch on", field="cron_on")
    if schedule is None:
        return None if is_on is None else SwitchCron(is_on)
    if not schedule:
        return SetCron(None)
    is_on = is_on is not False
    if present is not None and present.schedule == schedule:
        return SwitchCron(is_on)
    return SetCron(begin(schedule, now, is_on=is_on))


def make_message(services: Services, actor: Actor) -> Submission:
    """Make what a slot of the actor's schedule submits."""
    now = services.clock.now()
    execution_id = ExecutionId(services.ids.new_id())
    execution = Execution(
        tenant=actor.tenant,
        actor_id=actor.id,
        id=execution_id,
        api_server=actor.api_server,
        executor=EXECUTOR,
        message_received_time=now,
    )
    message = Message(
        tenant=actor.tenant,
        actor_id=actor.id,
        execution_id=execution_id,
        body=MESSAGE,
        content_type=CONTENT_TYPE_TEXT,
        username=EXECUTOR,
        api_server=actor.api_server,
        revision=actor.revision,
        enqueued_at=now,
    )
    return Submission(execution, message)
