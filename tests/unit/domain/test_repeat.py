"""Idempotency keys, and which requests are repeats of each other."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from abaco.domain.repeat import MAX_KEY_LENGTH, Sent, check_key, digest_of
from abaco.errors import InvalidInputError

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner),
    max_leaves=5,
)
environments = st.dictionaries(st.sampled_from(["A", "B", "_abaco_x", "MSG"]), st.text(max_size=2))
messages = st.lists(
    st.builds(Sent, values, st.sampled_from(["str", "application/json"]), environments), max_size=3
)


def sent(body="hi", content_type="str", **environment):
    return Sent(body, content_type, environment)


@pytest.mark.parametrize("key", ["k", "x" * MAX_KEY_LENGTH, '"8e03978e-40d5"', "a b", "~!{}"])
def test_keys(key):
    check_key(key)


@pytest.mark.parametrize("key", ["", "x" * (MAX_KEY_LENGTH + 1), "é", "tab\t", "nul\0", "\x7f"])
def test_what_is_no_key(key):
    with pytest.raises(InvalidInputError, match="Idempotency-Key must be 1 to 255 printable"):
        check_key(key)


@given(messages)
def test_the_same_is_the_same(batch):
    turned = [each._replace(environment=dict(reversed(each.environment.items()))) for each in batch]
    assert digest_of("batch", batch) == digest_of("batch", iter(turned))


@given(messages, messages)
def test_what_differs_differs(one, two):
    def visible(batch):
        return [
            (
                repr(each.body),
                each.content_type,
                {k: v for k, v in each.environment.items() if k in "AB"},
            )
            for each in batch
        ]

    if visible(one) == visible(two):
        assert digest_of("one", one) == digest_of("one", two)
    elif digest_of("one", one) == digest_of("one", two):
        # the order of an object's keys is none
        assert [each.body for each in one] == [each.body for each in two]


@pytest.mark.parametrize(
    "other",
    [
        [sent("ho")],
        [sent(content_type="application/json")],
        [sent(A="2")],
        [sent(B="1")],
        [sent(A="1"), sent(A="1")],
        [],
        [sent(["hi"], A="1")],
    ],
)
def test_another_request(other):
    assert digest_of("one", [sent(A="1")]) != digest_of("one", other)


def test_a_batch_of_one_is_not_a_message():
    assert digest_of("one", [sent()]) != digest_of("batch", [sent()])


def test_how_long_a_client_waits_may_change():
    waiting = sent(A="1", _abaco_synchronous="true", MSG="x")
    assert digest_of("one", [sent(A="1")]) == digest_of("one", [waiting])
