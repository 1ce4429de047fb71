"""How a call of a Python function travels to a container, and its outcome back: both ends.

Without dependencies but cloudpickle, and for Python 3.6 and later, because the runner's image has
a copy. Pure: nothing here reads or sends.

A call is ``{"func", "args", "kwargs"}``, pickled: the body of a binary message, or if it is small
``abaco-call:`` and base64 as a text, many of which fit into one request. A runner that is asked
with ``_abaco_executor_errors=1`` answers with pieces of a pickled ``("value", value)`` or
``("error", pickled exception or None, traceback)``; one that is not, as the older Abaco's.

Who reads an outcome runs what its sender put into it: that is what pickle does.
"""

# Typing in the words of Python 3.6, whatever the rest of Abaco uses.
import pickle
import struct
import sys
import traceback
from base64 import b64decode, b64encode
from typing import Any, Callable, Dict, List, Mapping, NamedTuple, Optional, Tuple

#: variable that asks a runner for pieces, and for exceptions as well as values
ASKS_FOR_ERRORS = "_abaco_executor_errors"
#: variable that says which Python pickled the call; another one cannot run its code
PYTHON_OF_CALL = "ABACO_EXECUTOR_PYTHON"
#: this Python, as ``3.11``
PYTHON = "{}.{}".format(*sys.version_info[:2])

CALL_PREFIX = "abaco-call:"
#: bytes of the largest call that is sent as a text: a variable holds 131071
MAX_TEXT_CALL_BYTES = 90000

_MAGIC = b"\x93abaco\x01"
#: number of a piece from 0, and how many there are
_HEADER = struct.Struct(">II")
HEADER_BYTES = len(_MAGIC) + _HEADER.size

#: what every Python 3 reads
_PROTOCOL = 3


class RemoteTraceback(Exception):  # noqa: N818 - it is a cause, and shown as one
    """The traceback of an exception where it happened; the cause of the one raised here."""

    def __str__(self) -> str:
        return '\n"""\n{}"""'.format(self.args[0])


class RemoteError(Exception):
    """An exception in a container whose class cannot be made here; the text is its traceback."""


class BrokenOutcomeError(Exception):
    """What came back is no outcome."""


class Outcome(NamedTuple):
    """What a call came to, ready to be cut."""

    pickled: bytes
    is_error: bool


def pack_call(pickler: Any, func: Callable[..., Any], args: Any, kwargs: Any) -> bytes:
    """Pickle a call; the pickler is cloudpickle."""
    call = {"func": func, "args": tuple(args), "kwargs": dict(kwargs)}
    return bytes(pickler.dumps(call))


def call_as_text(call: bytes) -> str:
    """Spell a small call as a text message."""
    return CALL_PREFIX + b64encode(call).decode("ascii")


def call_of_text(message: str) -> Optional[bytes]:
    """Return the call that a text message is, or None."""
    if not message.startswith(CALL_PREFIX):
        return None
    return b64decode(message[len(CALL_PREFIX) :], validate=True)


# In the container.


def run_call(call: bytes) -> Any:
    """Do a call and return its value, or raise as it does."""
    found = pickle.loads(call)  # noqa: S301 - an actor runs what its senders may have it run
    return found["func"](*found["args"], **found["kwargs"])


def run_for_outcome(pickler: Any, call: bytes, environment: Mapping[str, str]) -> Outcome:
    """Do a call and return what it came to, whatever that is."""
    try:
        _check_python(environment.get(PYTHON_OF_CALL, PYTHON))
        value = run_call(call)
        return Outcome(bytes(pickler.dumps(("value", value))), False)
    except BaseException as error:  # noqa: BLE001 - the caller is told of it, of an exit as well
        text = traceback.format_exc()
        record = ("error", _pickled_error(pickler, error), text)
        return Outcome(pickle.dumps(record, protocol=_PROTOCOL), True)


def _check_python(python: str) -> None:
    if python != PYTHON:
        raise RuntimeError(
            "the call was pickled by Python {}, and this image has {}: use an image with the same"
            " one".format(python, PYTHON)
        )


def _pickled_error(pickler: Any, error: BaseException) -> Optional[bytes]:
    """Pickle an exception if it can be read back, without its traceback and causes."""
    try:
        pickled = bytes(pickler.dumps(error, protocol=_PROTOCOL))
        pickle.loads(pickled)  # noqa: S301 - our own
    except Exception:  # noqa: BLE001 - any code of the exception's class may have run
        return None
    return pickled


def cut(outcome: bytes, piece_bytes: int) -> List[bytes]:
    """Cut an outcome into pieces of at most so many bytes, each of which says which it is."""
    step = piece_bytes - HEADER_BYTES
    parts = [outcome[start : start + step] for start in range(0, len(outcome), step)]
    return [_MAGIC + _HEADER.pack(number, len(parts)) + part for number, part in enumerate(parts)]


# At the caller's.


class Assembly:
    """The pieces of one outcome, in whatever order they come."""

    def __init__(self) -> None:
        self._parts: Dict[int, bytes] = {}
        self._count: Optional[int] = None

    @property
    def is_complete(self) -> bool:
        """Whether all are there."""
        return self._count is not None and len(self._parts) == self._count

    @property
    def missing_count(self) -> Optional[int]:
        """How many are not there; None when there is none at all."""
        return None if self._count is None else self._count - len(self._parts)

    def add(self, result: bytes) -> None:
        """Take a result; one that is no piece was sent by the function itself, and is dropped."""
        if result.startswith(_MAGIC) and len(result) >= HEADER_BYTES:
            number, self._count = _HEADER.unpack_from(result, len(_MAGIC))
            self._parts[number] = result[HEADER_BYTES:]

    def outcome(self) -> bytes:
        """Return the outcome."""
        return b"".join(self._parts[number] for number in sorted(self._parts))


def open_outcome(outcome: bytes) -> Any:
    """Return the value of a call, or raise its exception with the remote traceback as cause.

    Raises:
        RemoteError: It raised something that cannot be made here.
        BrokenOutcomeError: It is no outcome.

    """
    kind, payload, text = _unpickled(outcome)
    if kind == "value":
        return payload
    try:
        error = None if payload is None else pickle.loads(payload)  # noqa: S301 - see the module
    except Exception as problem:
        raise RemoteError(text) from problem
    if not isinstance(error, BaseException):
        raise RemoteError(text)
    raise error from RemoteTraceback(text)


def _unpickled(outcome: bytes) -> Tuple[str, Any, str]:
    try:
        found = pickle.loads(outcome)  # noqa: S301 - see the module
    except Exception as error:
        raise BrokenOutcomeError("the value cannot be read: {}".format(error)) from error
    if isinstance(found, tuple) and len(found) == 2 and found[0] == "value":
        return "value", found[1], ""
    if isinstance(found, tuple) and len(found) == 3 and found[0] == "error":
        return "error", found[1], str(found[2])
    raise BrokenOutcomeError("the outcome is neither a value nor an error")
