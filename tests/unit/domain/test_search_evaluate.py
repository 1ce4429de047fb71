"""Which documents a query finds, and how it grades them."""

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from abaco.domain.search import Query, grade, parse_query
from abaco.domain.search.documents import (
    actor_document,
    execution_document,
    log_document,
    worker_document,
)
from abaco.domain.search.patterns import MAX_PROGRAM, check_pattern, is_found
from abaco.domain.search.text import fold, grade_text, texts_in
from handlers.found import render_found
from handlers.rendering import render_time
from tests.support.records import a_worker, an_actor, an_error_outcome, an_execution, an_outcome, at

DOCUMENT = {
    "name": "Alpha",
    "five": 5,
    "word": "5",
    "half": 2.5,
    "yes": True,
    "nothing": None,
    "list": ["a", 5, ["b"], None],
    "empty": [],
    "object": {"inner": {"x": 1}, "t_create_time": "2024-05-01T12:00:00.5Z"},
    "create_time": at(0).replace(microsecond=123000),
}


def found(key, text):
    return grade(parse_query({key: [text]}), DOCUMENT) > 0


class TestOperators:
    @pytest.mark.parametrize(
        ("key", "text"),
        [
            ("name", "Alpha"), ("five", "5"), ("five", "5.0"), ("word", "5"), ("half", "2.5"),
            ("yes", "TRUE"), ("nothing", "none"), ("absent", "none"), ("list", "a"), ("list", "5"),
            ("list", "none"), ("list", "['b']"), ("list", '["a", 5.0, ["b"], null]'),
            ("empty", "[]"),
            ("object", '{"inner": {"x": 1}, "t_create_time": "2024-05-01T12:00:00.5Z"}'),
            ("object.inner.x", "1"), ("object.inner", '{"x": 1}'),
            ("object.t_create_time", "2024-05-01T12:00:00.500Z"),
            ("object.t_create_time.between", "2024,2025"),
            ("create_time", "2024-02-29T12:00:00.123Z"),
            ("create_time.in", '["2024-02-29T12:00:00.123Z"]'), ("name.in", "['x', 'Alpha']"),
            ("five.in", "[5]"), ("list.in", "['a']"), ("nothing.in", "[null]"),
            ("name.like", "^Al"), ("name.like", "l.h"), ("list.like", "a"), ("name.nlike", "^al"),
            ("five.nlike", "5"), ("absent.nlike", "."), ("absent.nin", "[null]"),
            ("absent.neq", "x"),
            ("name.neq", "alpha"), ("nothing.neq", "1"), ("yes.neq", "1"), ("five.nin", "['5']"),
            ("five.gt", "4.9"), ("five.gte", "5"), ("five.lt", "6"), ("five.lte", "5"),
            ("name.gt", "Al"), ("name.lt", "B"), ("list.gt", "4"), ("half.between", "2.5,3"),
            ("half.between", "2,2.5"), ("create_time.gt", "2024"), ("create_time.lte", "2025"),
        ],
    )  # fmt: skip
    def test_found(self, key, text):
        assert found(key, text)

    @pytest.mark.parametrize(
        ("key", "text"),
        [
            ("name", "alpha"), ("five", "true"), ("yes", "1"), ("yes", "false"), ("absent", "x"),
            ("absent.neq", "none"), ("nothing.neq", "none"), ("absent.in", "[null]"),
            ("empty", "none"), ("list", "b"), ("list", "['a']"), ("object.inner.y", "1"),
            ("name.inner", "Alpha"), ("list.0", "a"), ("five.like", "5"), ("nothing.like", "."),
            ("absent.like", ""), ("name.nlike", "A"), ("five.gt", "5"), ("five.lt", "x"),
            ("name.gt", "5"), ("word.gt", "4"), ("yes.gt", "0"), ("nothing.lt", "9"),
            ("absent.lt", "9"), ("absent.between", "0,9"), ("half.between", "3,2"),
            ("five.in", "[true]"), ("yes.in", "[1]"), ("create_time.gt", "2025"),
            ("object.inner.neq", '{"x": 1}'), ("object.inner", '{"x": true}'),
            ("object.inner", '{"y": 1}'), ("five.in", "[]"), ("create_time.like", "2024"),
            ("name.in", '["2024"]'), ("list", '["a", 5]'),
        ],
    )  # fmt: skip
    def test_not_found(self, key, text):
        assert not found(key, text)

    def test_all_conditions_must_hold(self):
        assert grade(parse_query({"five": ["5"], "half": ["2.5"]}), DOCUMENT)
        assert not grade(parse_query({"five": ["5"], "half": ["3"]}), DOCUMENT)

    @given(
        st.sampled_from(sorted({*DOCUMENT} - {"create_time"})),
        st.sampled_from(["5", "Alpha", "none", "true", "a"]),
    )
    def test_opposites(self, key, text):
        assert found(key, text) is not found(f"{key}.neq", text)
        assert found(f"{key}.in", f'["{text}"]') is not found(f"{key}.nin", f'["{text}"]')


class TestText:
    @pytest.mark.parametrize(
        ("text", "phrase", "is_there"),
        [
            ("abacosamples/sleep_loop", "sleep_loop", True),
            ("abacosamples/sleep_loop", "sleep", False),
            ("abacosamples/sleep_loop", "/sleep_loop", True),
            ("abacosamples/sleep_loop", "samples/sleep_loop", False),
            ("sleepy sleep", "sleep", True),
            ("a-b", "b", True),
            ("Straße", "STRASSE", True),
            ("naïve", "na", False),
            ("x", "x", True),
            ("xx x", "x", True),
            ("one two  three", "two three", False),
        ],
    )
    def test_phrases(self, text, phrase, is_there):
        assert (grade_text([text], [fold(phrase)], []) > 0) is is_there

    def test_a_phrase_does_not_span_two_texts(self):
        assert not grade_text(["one", "two"], ["one two"], [])
        assert grade_text(["one", "two"], ["one", "two"], [])

    def test_ranking(self):
        def value(*texts):
            return grade_text(texts, [], ["one", "two"])

        assert value("three") == 0
        assert 0 < value("one") < value("one one") < value("one", "one one") < value("two one")
        assert value("one " * 2_000_000) < value("one two")

    def test_without_text_everything_is_alike(self):
        assert grade_text([], [], []) == grade_text(["x"], [], []) == 1

    def test_texts_are_found_however_deep_and_keys_are_none(self):
        value = {"key": ["a", {"other": ("b", 1, None)}], "x": "c"}
        assert list(texts_in(value)) == ["a", "b", "c"]

    @pytest.mark.parametrize(
        ("text", "phrase"), [("a" * 10**6, "a" * 999), ("a " * 10**6, "a " * 499 + "b")]
    )
    def test_repetitive_texts_take_no_longer(self, text, phrase):
        began = time.process_time()
        assert grade_text([text], [phrase], []) == 0
        assert time.process_time() - began < 2

    @given(st.lists(st.sampled_from(["a", "b", "_", "-", " ", "é"]), max_size=12).map("".join))
    def test_counts_are_those_of_the_plain_definition(self, text):

        for word in ("a", "ab", "a-b", "-", "é a"):
            edges = (
                r"(?<!\w)" if word[0].isalnum() else "",
                r"(?!\w)" if word[-1].isalnum() else "",
            )
            plain = len(re.findall(f"{edges[0]}{re.escape(word)}{edges[1]}", text))
            assert bool(grade_text([text], [], [word])) == bool(plain)


class TestPatterns:
    @pytest.mark.parametrize("pattern", ["(a+)+$", "(a|a)*b", "(.*)*x", "(a?){100}a{100}b"])
    def test_the_time_is_linear(self, pattern):
        check_pattern(pattern)
        began = time.process_time()
        is_found(pattern, "a" * 100_000 + "!")
        assert time.process_time() - began < 2

    def test_size_is_limited(self):
        check_pattern("a" * (MAX_PROGRAM - 20))
        with pytest.raises(ValueError, match="too large"):
            check_pattern("a" * (MAX_PROGRAM + 20))

    def test_letter_case_and_unicode(self):
        assert is_found("É.$", "xÉy")
        assert not is_found("é", "É")
        assert is_found("(?i)é", "É")
        assert is_found("^.$", "\ud800")  # what is no text is some character


class TestDocuments:
    """What can be searched is what is shown: nothing is hidden, nothing is made up."""

    @pytest.mark.parametrize(
        ("item", "describe"),
        [
            (an_actor(state=[1], hints=("a",), max_workers=3), actor_document),
            (an_actor(max_run_time=5, read_only_rootfs=True, network="none"), actor_document),
            (a_worker(an_actor()), worker_document),
            (a_worker(an_actor(), container_id="c", last_execution_time=at(3)), worker_document),
            (an_execution(an_actor()), execution_document),
            (an_execution(an_actor(), outcome=an_outcome()), execution_document),
            (
                an_execution(an_actor(), outcome=an_error_outcome(final_state={})),
                execution_document,
            ),
        ],
    )
    def test_as_shown(self, item, describe):
        document = describe(item)
        shown = render_found(item, "snake")
        shown.pop("_links", None)  # workers have none
        for name, value in document.items():
            if name in ("max_run_time", "read_only_rootfs", "network") and not value:
                assert name not in shown, "only where it was asked for"
            elif name.endswith("_time") and name != "max_run_time":
                written = None if value is None else render_time(value)
                assert shown.pop(name) in (written, "None" if written is None else written)
            else:
                given = shown.pop(name)
                assert given == (list(value) if isinstance(value, tuple) else value)
        assert shown == {}

    def test_a_log(self):
        execution = an_execution(an_actor())
        assert log_document(execution, "text") == {
            "logs": "text", "actor_id": execution.actor_id, "execution_id": execution.id,
        }  # fmt: skip

    def test_a_query_without_conditions_finds_everything(self):
        assert grade(Query(), actor_document(an_actor()))
