"""The access token an execution is given: who gets one, how long it lasts, and when it is dead."""

from __future__ import annotations

from dataclasses import dataclass

from abaco.domain.actor import Actor
from abaco.domain.execution import FINAL, Execution, ExecutionKey
from abaco.domain.ids import ActorId, ExecutionId, Tenant, WorkerId

#: claim of our own tokens that says for which run they are; without it they are a person's
RUN_CLAIM = "abaco"
#: what names us as the issuer
ISSUER = "abaco"

#: seconds a token outlives the longest run it may be for
SPARE_S = 300

_ON = frozenset({"true", "yes", "on", "1"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """The one run a token is for."""

    actor_id: ActorId
    execution_id: ExecutionId
    worker_id: WorkerId
    attempt: int

    def key(self, tenant: Tenant) -> ExecutionKey:
        """Name its execution."""
        return ExecutionKey(tenant, self.actor_id, self.execution_id)

    def is_under_way(self, execution: Execution) -> bool:
        """Tell whether the execution is in this very run now.

        Not when it has ended, nor when its message went back to the mailbox or is run again.
        """
        return (
            execution.status not in FINAL
            and execution.worker_id == self.worker_id
            and execution.attempt == self.attempt
        )


def wants_token(actor: Actor) -> bool:
    """Tell whether the actor's ``token`` is on; a defaulted one is text in any letter case."""
    return str(actor.definition.token).strip().casefold() in _ON


def valid_for_s(max_run_time_s: float, *, ttl_s: int, max_ttl_s: int) -> float:
    """Return how many seconds the token of a run is valid at most.

    Args:
        max_run_time_s: Time limit of the run; 0 or less for none.
        ttl_s: Taken where runs have no limit.
        max_ttl_s: Never more than that, but for the spare seconds.

    """
    wanted_s = max_run_time_s if max_run_time_s > 0 else ttl_s
    return min(max_ttl_s, wanted_s) + SPARE_S
