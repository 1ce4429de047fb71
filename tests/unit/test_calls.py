"""How calls travel: both ends, without what is in between."""

import pickle
import random
import sys

import cloudpickle
import pytest
from hypothesis import given
from hypothesis import strategies as st

from abaco import calls
from abaco.calls import Assembly, BrokenOutcomeError, RemoteError, RemoteTraceback


def packed(func, *args, **kwargs):
    return calls.pack_call(cloudpickle, func, args, kwargs)


def outcome(func, *args, environment=None):
    return calls.run_for_outcome(cloudpickle, packed(func, *args), environment or {})


def travelled(pieces):
    """Put pieces together as a caller does."""
    assembly = Assembly()
    for piece in pieces:
        assembly.add(piece)
    assert assembly.is_complete
    return calls.open_outcome(assembly.outcome())


class PickyError(Exception):
    def __init__(self, one, *, two):
        super().__init__(one, two)


class ExplosiveError(Exception):
    def __reduce__(self):
        return exec, ("raise SystemError('read')",)


def fail(error):
    raise error


def fail_with(kind):
    raise PickyError(1, two=2) if kind is PickyError else kind("boom")


def test_a_call_is_done_as_the_older_clients_mean_it():
    call = {"func": divmod, "args": [7, 2], "kwargs": {}, "cwd": "/somewhere"}
    assert calls.run_call(pickle.dumps(call)) == (3, 1)
    assert calls.run_call(packed(lambda a, b=1: a - b, 5, b=2)) == 3


def test_a_small_call_is_a_text():
    call = packed(divmod, 7, 2)
    text = calls.call_as_text(call)
    assert text.isascii()
    assert calls.call_of_text(text) == call
    assert calls.call_of_text("hello") is None
    with pytest.raises(ValueError, match="base64"):
        calls.call_of_text("abaco-call:***")


def test_the_largest_text_fits_a_variable():
    text = calls.call_as_text(b"x" * calls.MAX_TEXT_CALL_BYTES)
    assert len(f"MSG={text}") <= 131071


def test_a_value():
    made = outcome(lambda: {"f": lambda: 5})
    assert not made.is_error
    assert calls.open_outcome(made.pickled)["f"]() == 5


def test_an_exception_brings_its_traceback():
    made = outcome(fail, KeyError("gone"))
    assert made.is_error
    with pytest.raises(KeyError, match="gone") as caught:
        calls.open_outcome(made.pickled)
    cause = caught.value.__cause__
    assert isinstance(cause, RemoteTraceback)
    assert "in fail\n" in str(cause)
    assert str(cause).count("KeyError: 'gone'") == 1


@pytest.mark.parametrize("kind", [PickyError, ExplosiveError])
def test_an_exception_that_cannot_be_read_is_told_in_words(kind):
    with pytest.raises(RemoteError, match=kind.__name__):
        calls.open_outcome(outcome(fail_with, kind).pickled)


def test_nor_one_whose_class_is_not_here():
    unknown = pickle.dumps(KeyError(1)).replace(b"KeyError", b"NoError_")
    with pytest.raises(RemoteError, match="its traceback"):
        calls.open_outcome(pickle.dumps(("error", unknown, "its traceback")))


@pytest.mark.parametrize(
    ("error", "kind"), [(SystemExit(3), SystemExit), (MemoryError(), MemoryError)]
)
def test_even_an_exit_is_told(error, kind):
    with pytest.raises(kind):
        calls.open_outcome(outcome(fail, error).pickled)


def test_a_value_that_cannot_be_pickled_is_an_error():
    made = outcome(lambda: (number for number in range(3)))
    assert made.is_error
    with pytest.raises(TypeError, match="generator"):
        calls.open_outcome(made.pickled)


def test_a_call_of_another_python_is_not_tried():
    other = {calls.PYTHON_OF_CALL: "2.7"}
    made = outcome(lambda: pytest.fail("it ran"), environment=other)
    with pytest.raises(RuntimeError, match=rf"Python 2\.7.*{calls.PYTHON}"):
        calls.open_outcome(made.pickled)
    same = {calls.PYTHON_OF_CALL: "{}.{}".format(*sys.version_info)}
    assert not outcome(lambda: 1, environment=same).is_error


@given(
    value=st.binary(min_size=1, max_size=5000),
    piece_bytes=st.integers(calls.HEADER_BYTES + 1, 600),
    seed=st.integers(),
)
def test_pieces_may_come_in_any_order(value, piece_bytes, seed):
    made = pickle.dumps(("value", value))
    pieces = calls.cut(made, piece_bytes)
    assert all(len(piece) <= piece_bytes for piece in pieces)
    random.Random(seed).shuffle(pieces)
    assert travelled(pieces) == value


def test_what_the_function_sent_itself_is_no_piece():
    first, *others = calls.cut(pickle.dumps(("value", "x" * 100)), 60)
    assert travelled([b"mine", first, b"", *others, b"\x93abaco\x01"]) == "x" * 100


def test_an_assembly_tells_what_is_missing():
    assembly = Assembly()
    assert (assembly.is_complete, assembly.missing_count) == (False, None)
    first, second, third = calls.cut(bytes(100), 50)
    assembly.add(third)
    assembly.add(third)
    assert (assembly.is_complete, assembly.missing_count) == (False, 2)
    assembly.add(first)
    assembly.add(second)
    assert (assembly.is_complete, assembly.missing_count) == (True, 0)
    assert assembly.outcome() == bytes(100)


@pytest.mark.parametrize(
    "made",
    [b"", b"nonsense", pickle.dumps(1), pickle.dumps(("value",)), pickle.dumps(("other", 1))],
)
def test_something_else_is_no_outcome(made):
    with pytest.raises(BrokenOutcomeError):
        calls.open_outcome(made)


def test_an_error_that_is_none_is_told_in_words():
    with pytest.raises(RemoteError, match="it said so"):
        calls.open_outcome(pickle.dumps(("error", pickle.dumps("no exception"), "it said so")))
