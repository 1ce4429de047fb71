"""Gets an execution the access token its actor asks for, or says that there is none."""

from __future__ import annotations

import asyncio
import logging

import tenacity

from abaco.domain.actor import Actor
from abaco.domain.execution import Execution
from abaco.domain.limits import run_time_limit_s
from abaco.domain.run_token import wants_token
from abaco.errors import TokenError, TokenRefusedError, TokenUnavailableError
from abaco.metrics import TOKENS
from abaco.ports.token_provider import NO_TOKEN, Token, TokenRequest
from agents.kit import Kit

_log = logging.getLogger(__name__)

#: seconds before the second try, doubled for each further one, and at most
FIRST_PAUSE_S = 0.5
MAX_PAUSE_S = 30.0


async def acquire_token(
    kit: Kit, actor: Actor, execution: Execution, is_halted: asyncio.Event
) -> Token:
    """Return the token for a run; the empty one where none is wanted.

    Args:
        kit: What workers share.
        actor: Whose owner the token represents.
        execution: As claimed by its worker.
        is_halted: Ends the wait, because nobody wants the run any more.

    Raises:
        TokenError: There is none, and the message shall not run without.

    """
    is_switched_on = kit.settings.workers.for_tenant("generate_clients", actor.tenant)
    if not (is_switched_on and wants_token(actor)):
        return NO_TOKEN
    assert execution.worker_id is not None  # noqa: S101 - the claim wrote it
    cap_s = kit.settings.workers.max_run_time
    request = TokenRequest(
        tenant=actor.tenant,
        owner=actor.owner,
        actor_id=actor.id,
        execution_id=execution.id,
        worker_id=execution.worker_id,
        attempt=execution.attempt,
        max_run_time_s=run_time_limit_s(actor.definition.max_run_time, cap_s) or -1,
    )
    try:
        token = await _try_again(kit, request, is_halted)
    except TokenError as error:
        TOKENS.labels("failed").inc()
        policy = kit.settings.runtime.token_failure
        if policy != "run" or is_halted.is_set():
            raise
        _log.warning("execution %s runs without a token: %s", execution.id, error)
        return NO_TOKEN
    TOKENS.labels("given").inc()
    return token


async def _try_again(kit: Kit, request: TokenRequest, is_halted: asyncio.Event) -> Token:
    """Ask until there is a token, for as long as messages are to wait for theirs."""
    runtime = kit.settings.runtime

    async def pause(delay_s: float) -> None:
        try:
            async with asyncio.timeout(delay_s):
                await is_halted.wait()
        except TimeoutError:
            return
        raise TokenRefusedError("the run was stopped while it waited for an access token")

    def warn(state: tenacity.RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        TOKENS.labels("retried").inc()
        _log.warning("execution %s waits for a token: %s", request.execution_id, error)

    policy = runtime.token_failure
    limit_s = runtime.token_max_wait if policy == "wait" else 0
    retrying = tenacity.AsyncRetrying(
        retry=tenacity.retry_if_exception_type(TokenUnavailableError),
        wait=tenacity.wait_random_exponential(multiplier=FIRST_PAUSE_S, max=MAX_PAUSE_S),
        stop=tenacity.stop_never if limit_s < 0 else tenacity.stop_after_delay(limit_s),
        before_sleep=warn,
        sleep=pause,
        reraise=True,
    )
    return await retrying(kit.tokens.acquire, request)
