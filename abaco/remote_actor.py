"""The actor that does an executor's calls, as a client of the HTTP API sees it.

Every method waits for the server, and goes on through a restart of it: what it sends has a key of
its own, so that nothing runs twice because an answer was lost.
"""

from __future__ import annotations

import io
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import tenacity

from abaco.calls import ASKS_FOR_ERRORS, PYTHON, PYTHON_OF_CALL, Assembly, call_as_text
from abaco.cli.client import AbacoClient, ApiError, ClientError, UnreachableError

#: seconds a server may be away before what was asked of it fails
PATIENCE_S = 120.0
LONGEST_PAUSE_S = 5.0
#: seconds between two questions where the server does not hold them ([web] max_wait is 0)
LEAST_WAIT_S = 0.5

#: name of the actors that executors register
NAME = "abaco_executor"
#: characters of a log's end that an error shows
SHOWN_LOG = 2000

_IMAGE_HINT = "comes from samples/executor/build; another one is named with image="

_FINAL = ("COMPLETE", "ERROR")
_MAY_PASS = (502, 503, 504)
_NOT_FOUND, _TOO_MANY = 404, 429
_REQUEST = {ASKS_FOR_ERRORS: "1", PYTHON_OF_CALL: PYTHON}


class ExecutorError(Exception):
    """A call came to no end of its own; the classes below say why."""


class ServerError(ExecutorError):
    """The server refused, or stayed away for too long."""


class ActorFailedError(ExecutorError):
    """The actor is in ERROR: its image cannot be had, or does not start."""


class RunFailedError(ExecutorError):
    """The execution ended in ERROR: the platform could not run it, or it was given up."""


class RunKilledError(ExecutorError):
    """The run was stopped: halted, too long, or out of memory."""


class RunLostError(ExecutorError):
    """The server knows the execution no more: its actor was deleted."""


class NoResultError(ExecutorError):
    """The program ended without handing back what the call came to."""


class OutcomeLostError(NoResultError):
    """There was an outcome, and a restart of the server or a cut connection took it."""


class RemoteActor:
    """One actor, found or registered.

    Args:
        client: The server.
        actor: Id or alias of an actor that exists; None registers one, and ``close`` deletes it.
        image: Image of the one to register.
        workers: Workers to ask for at the start; None leaves that to the server.

    """

    def __init__(
        self,
        client: AbacoClient,
        *,
        actor: str | None,
        image: str,
        workers: int | None,
    ) -> None:
        self._client = client
        self._reference = actor
        self._image = image
        self._workers = workers
        #: empty before it is open
        self.id = ""

    def open(self) -> None:
        """Find or register the actor, and ask for workers.

        Raises:
            ServerError: The server refuses that.

        """
        if self._reference is None:
            body = {"image": self._image, "name": NAME, "stateless": True}
            # Not again: registering twice makes two.
            found = self._once(lambda: self._client.request("POST", [], body=body))
        else:
            reference = self._reference
            found = self._persist(lambda: self._client.get(reference))
        self.id = str(found["id"])
        if self._workers is not None:
            wanted = {"num": self._workers}
            self._persist(lambda: self._client.request("POST", [self.id, "workers"], body=wanted))

    def close(self) -> None:
        """Delete the actor if it was registered here.

        Raises:
            ServerError: It could not be.

        """
        if self._reference is None and self.id:
            self._persist(lambda: self._client.request("DELETE", [self.id]))

    def send_texts(self, calls: Sequence[bytes]) -> list[str]:
        """Send small calls, all of them or none; return the ids of their executions, in order.

        Raises:
            ExecutorError: They are not sent.

        """
        body = {"messages": [{"message": call_as_text(call)} for call in calls]}
        path, headers = [self.id, "messages", "batch"], _key()
        answer = self._persist(
            lambda: self._client.request("POST", path, query=_REQUEST, headers=headers, body=body)
        )
        return [str(each) for each in answer["execution_ids"]]

    def send_binary(self, call: bytes) -> str:
        """Send a call of any size; return the id of its execution.

        Raises:
            ExecutorError: It is not sent.

        """
        path, headers = [self.id, "messages"], _key()
        answer = self._persist(
            lambda: self._client.upload(
                path, io.BytesIO(call), len(call), query=_REQUEST, headers=headers
            )
        )
        return str(answer["execution_id"])

    def await_final(self, execution_id: str, wait_s: float) -> dict[str, Any] | None:
        """Return an execution that has ended; None when it has not after so many seconds.

        Raises:
            ExecutorError: It will not: it is gone, or its actor is in ERROR.

        """
        began = time.monotonic()
        path, query = [self.id, "executions", execution_id], {"wait": f"{wait_s:g}"}
        with _lost_if_gone(execution_id):
            execution = self._persist(lambda: self._client.request("GET", path, query=query))
            if execution["status"] in _FINAL:
                return dict(execution)
            if execution["status"] == "SUBMITTED":
                self.check()
        if time.monotonic() - began < min(wait_s, LEAST_WAIT_S):
            time.sleep(LEAST_WAIT_S)
        return None

    def take_outcome(self, execution: Mapping[str, Any]) -> bytes:
        """Take what the call of an execution that has ended came to.

        Raises:
            ExecutorError: There is no such thing; the class says why.

        """
        assembly, faults = Assembly(), list[ClientError]()
        path = [self.id, "executions", str(execution["id"]), "results"]

        def take() -> bytes:
            try:
                return self._client.take(*path)
            except ClientError as error:  # what was taken may have been in the answer
                faults.append(error)
                raise

        with _lost_if_gone(str(execution["id"])):
            while not assembly.is_complete:
                result = self._persist(take)
                if not result:
                    raise self._explain(execution, assembly, is_doubtful=bool(faults))
                assembly.add(result)
        return assembly.outcome()

    def check(self) -> None:
        """See that the actor can run calls.

        Raises:
            ActorFailedError: It cannot.

        """
        actor = self._persist(lambda: self._client.get(self.id))
        if actor["status"] == "ERROR":
            reason = str(actor.get("status_message", "")).strip() or "no reason"
            hint = "" if self._reference else f". {self._image} {_IMAGE_HINT}"
            raise ActorFailedError(f"actor {self.id} is in ERROR: {reason}{hint}")

    def _explain(
        self, execution: Mapping[str, Any], assembly: Assembly, *, is_doubtful: bool
    ) -> ExecutorError:
        name, final_state = f"execution {execution['id']}", execution.get("final_state") or {}
        if execution["status"] == "ERROR":
            return RunFailedError(f"{name} ended in ERROR: {final_state.get('Error') or 'unknown'}")
        if reason := final_state.get("AbacoReason"):
            return RunKilledError(f"{name} was stopped: {reason}")
        if final_state.get("OOMKilled"):
            return RunKilledError(f"{name} ran out of memory")
        if final_state.get("AbacoResultsLost"):
            return OutcomeLostError(f"{name} lost its results: the server was started anew")
        if refused := final_state.get("AbacoResultsRefused"):
            return NoResultError(f"{name}: {refused} results were too large for this server")
        if is_doubtful:
            return OutcomeLostError(f"{name} lost its results: the connection was cut")
        if missing := assembly.missing_count:
            return NoResultError(f"{name}: {missing} pieces of its result are gone")
        log = self._persist(
            lambda: self._client.get(self.id, "executions", execution["id"], "logs")
        )
        end = str(log["logs"])[-SHOWN_LOG:]
        return NoResultError(
            f"{name} ended with exit code {execution.get('exit_code')} and no result: its image is"
            " no runner's, the result expired, or the program died."
            + (f" The end of its log:\n{end}" if end else " It wrote nothing into its log.")
        )

    def _once(self, ask: Callable[[], Any]) -> Any:
        try:
            return ask()
        except ClientError as error:
            raise ServerError(error.message) from error

    def _persist(self, ask: Callable[[], Any]) -> Any:
        """Ask until there is an answer that stands.

        A limit of the server's is waited for without end: it says when to come again.
        """
        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception(_may_pass),
            wait=_pause_after,
            stop=_is_enough,
            before_sleep=self._before_pause,
            reraise=True,
        )
        return self._once(lambda: retrying(ask))

    def _before_pause(self, state: tenacity.RetryCallState) -> None:
        """See, before a wait for room in a mailbox, that somebody empties it."""
        if self.id and _status_of(_error_of(state)) == _TOO_MANY:
            actor = self._client.get(self.id)
            if actor["status"] == "ERROR":
                raise ActorFailedError(f"actor {self.id} is in ERROR, and takes no more messages")


@contextmanager
def _lost_if_gone(execution_id: str) -> Iterator[None]:
    """Say which run is lost when the server does not know it any more, or not its actor."""
    try:
        yield
    except ServerError as error:
        if _status_of(error.__cause__) != _NOT_FOUND:
            raise
        raise RunLostError(f"execution {execution_id} is gone: {error}") from error


def _key() -> dict[str, str]:
    return {"Idempotency-Key": uuid.uuid4().hex}


def _status_of(error: BaseException | None) -> int | None:
    return error.status if isinstance(error, ApiError) else None


def _error_of(state: tenacity.RetryCallState) -> BaseException | None:
    return None if state.outcome is None else state.outcome.exception()


def _may_pass(error: BaseException) -> bool:
    return isinstance(error, UnreachableError) or _status_of(error) in (_TOO_MANY, *_MAY_PASS)


def _pause_after(state: tenacity.RetryCallState) -> float:
    error = _error_of(state)
    if isinstance(error, ApiError) and error.status == _TOO_MANY:
        return float(error.retry_after_s)
    return min(LONGEST_PAUSE_S, 0.1 * 2.0 ** min(state.attempt_number, 10))


def _is_enough(state: tenacity.RetryCallState) -> bool:
    is_limit = _status_of(_error_of(state)) == _TOO_MANY
    return not is_limit and (state.seconds_since_start or 0) > PATIENCE_S
