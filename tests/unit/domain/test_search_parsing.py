"""Query parameters to a query."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from abaco.domain.search import Clause, Operator, SearchKind, parse_kind, parse_query
from abaco.domain.search.times import is_time_key, parse_time
from abaco.errors import InvalidInputError


def clause(key, text):
    (found,) = parse_query({key: [text]}).clauses
    return found


class TestKeys:
    @pytest.mark.parametrize(
        ("key", "path", "operator"),
        [
            ("image", ("image",), Operator.EQ),
            ("image.eq", ("image",), Operator.EQ),
            ("image.neq", ("image",), Operator.NEQ),
            ("image.LIKE", ("image", "LIKE"), Operator.EQ),
            ("default_environment.internal", ("default_environment", "internal"), Operator.EQ),
            ("default_environment.in.gt", ("default_environment", "in"), Operator.GT),
            ("state.a..b", ("state", "a", "", "b"), Operator.EQ),
            ("gt", ("gt",), Operator.EQ),
            ("maxWorkers.lt", ("max_workers",), Operator.LT),
            ("finalState.StartedAt.gt", ("final_state", "StartedAt"), Operator.GT),
            ("state.camelCase", ("state", "camelCase"), Operator.EQ),
            ("_links", ("_links",), Operator.EQ),
            ("search.x", ("search", "x"), Operator.EQ),
        ],
    )
    def test_the_operator_is_the_last_part_if_it_is_one(self, key, path, operator):
        found = clause(key, "2020")
        assert (found.path, found.operator) == (path, operator)

    @pytest.mark.parametrize("key", ["$where", "a.$gt", "a$", ""])
    def test_refused(self, key):
        with pytest.raises(InvalidInputError) as raised:
            parse_query({key: ["1"]})
        assert raised.value.message.startswith(f"{key}: ")

    def test_each_value_is_a_condition(self):
        found = parse_query({"a": ["1", "2"], "b": ["x"]})
        assert found.clauses == (
            Clause(("a",), Operator.EQ, (1, "1")),
            Clause(("a",), Operator.EQ, (2, "2")),
            Clause(("b",), Operator.EQ, ("x",)),
        )


class TestValues:
    @pytest.mark.parametrize(
        ("text", "operands"),
        [
            ("true", (True, "true")),
            ("False", (False, "False")),
            ("none", (None, "none")),
            ("NONE", (None, "NONE")),
            ("5", (5, "5")),
            ("-5", (-5, "-5")),
            ("5.", (5.0, "5.")),
            (".5e1", (5.0, ".5e1")),
            ("9223372036854775807", (2**63 - 1, "9223372036854775807")),
            ("9223372036854775808", (2.0**63, "9223372036854775808")),
            ("12345e6789012", ("12345e6789012",)),
            ("nan", ("nan",)),
            ("inf", ("inf",)),
            ("1_000", ("1_000",)),
            ("٣", ("٣",)),
            ("[1, 'a']", ([1, "a"], "[1, 'a']")),
            ("{'a': \"b'c\"}", ({"a": "b'c"}, "{'a': \"b'c\"}")),
            ("['it\\'s \"so\"']", (['it\'s "so"'], "['it\\'s \"so\"']")),
            ("[1", ("[1",)),
            ("[NaN]", ("[NaN]",)),
            ("", ("",)),
            (" 5", (" 5",)),
        ],
    )
    def test_equal(self, text, operands):
        found = clause("name", text).operands
        assert found == operands
        assert [type(each) for each in found] == [type(each) for each in operands]

    @pytest.mark.parametrize(
        ("key", "text", "operands"),
        [
            ("a.gt", "5", (5,)),
            ("a.lt", "x", ("x",)),
            ("a.gte", "true", ("true",)),
            ("a.between", "1, 2.5", (1, 2.5)),
            ("a.like", "5", ("5",)),
            ("create_time.like", "x", ("x",)),
            ("a.in", "[]", ()),
            ("a.in", "[null, true, 1, 'x', [1]]", (None, True, 1, "x", [1])),
            ("a.in", "[18446744073709551616]", (2.0**64,)),
            ("create_time.in", '["2020", 5]', (datetime(2020, 1, 1, tzinfo=UTC), 5)),
        ],
    )
    def test_other_operators(self, key, text, operands):
        assert clause(key, text).operands == operands

    @pytest.mark.parametrize(
        ("key", "text"),
        [
            ("a.between", "1"), ("a.between", "1,2,3"), ("a.between", "x,y"), ("a.between", ","),
            ("create_time.between", "2020,x"), ("create_time", "x"), ("create_time.lt", "true"),
            ("a.in", "x"), ("a.in", "{}"), ("a.nin", "5"), ("a.in", "[" * 100_000),
            ("a.in", "[1e999]"), ("a.in", "[" + "1" * 5000 + "]"), ("a.in", '["\\ud800"]'),
            ("a.in", "[" + ",".join(["1"] * 1001) + "]"), ("create_time.in", '["x"]'),
            ("a.like", "("), ("a.like", r"(\d)\1"), ("a.nlike", r"\pL{999}"),
            ("a.like", "(.{300}){9}"),
        ],
    )  # fmt: skip
    def test_refused_by_name(self, key, text):
        with pytest.raises(InvalidInputError) as raised:
            parse_query({key: [text]})
        assert raised.value.message.startswith(f"{key}: ")
        assert len(raised.value.message) < 300

    @given(key=st.text(), text=st.text(), operator=st.sampled_from(["", *Operator]))
    def test_whatever_comes_is_read_or_refused(self, key, text, operator):
        parameter = f"{key}.{operator}" if operator else key
        try:
            query = parse_query({parameter: [text]})
        except InvalidInputError as error:
            assert error.message.startswith(parameter[:80])  # noqa: PT017 - others pass
        else:
            assert len(query.clauses) + len(query.phrases) + len(query.words) <= 100


class TestTimes:
    @pytest.mark.parametrize(
        ("text", "time"),
        [
            ("2000", "2000-01-01T00:00:00+00:00"),
            ("2000Z", "2000-01-01T00:00:00+00:00"),
            ("2000-05:00", "2000-01-01T05:00:00+00:00"),
            ("2000-0500", "2000-01-01T05:00:00+00:00"),
            ("2000+05:30", "1999-12-31T18:30:00+00:00"),
            ("2000-05", "2000-05-01T00:00:00+00:00"),
            ("2000-05-0500", "2000-05-01T05:00:00+00:00"),
            ("2200-01-01", "2200-01-01T00:00:00+00:00"),
            ("2000-01-01T07", "2000-01-01T07:00:00+00:00"),
            ("2000-01-01T01:00", "2000-01-01T01:00:00+00:00"),
            ("2000-01-01T01:00:07", "2000-01-01T01:00:07+00:00"),
            ("2000-01-01T01:00:00.000Z", "2000-01-01T01:00:00+00:00"),
            ("2200-12-30T23:59:59.999Z", "2200-12-30T23:59:59.999000+00:00"),
            ("2000-01-01T01:00:00.123456789", "2000-01-01T01:00:00.123456+00:00"),
            ("2000-01-01T01:00:00.5-01:00", "2000-01-01T02:00:00.500000+00:00"),
        ],
    )
    def test_accepted(self, text, time):
        assert parse_time(text).isoformat() == time

    @pytest.mark.parametrize(
        "text",
        [
            "", "20", "20000", "2000-", "2000-1", "2000-13", "2000-02-30", "2000-01-01T",
            "2000-01-01T24", "2000-01-01T01:60", "2000-01-01T01:00:60", "2000-01-01T01:00:00.",
            "2000-01-01 01:00", "2000-01-01T01:00 05:00", "2000+24:00", "2000+05:60", "0000",
            "0001+05:00", "9999-12-31T23:00-05:00", "now", "٢٠٠٠", "2000\n", "2000z",
        ],
    )  # fmt: skip
    def test_refused(self, text):
        assert parse_time(text) is None

    @given(st.datetimes(min_value=datetime(2, 1, 1), max_value=datetime(9998, 1, 1)))  # noqa: DTZ001 - made aware below
    def test_every_time_is_read_as_written(self, time):
        aware = time.replace(tzinfo=UTC)
        assert parse_time(aware.isoformat()) == aware

    def test_which_fields_are_times(self):
        for key in ("create_time", "final_state.FinishedAt", "state.my_start_time", "finish_time"):
            assert is_time_key(key)
        assert not is_time_key("runtime")
        assert not is_time_key("cron_next_ex")


class TestTheRest:
    def test_defaults(self):
        query = parse_query({})
        assert (query.limit, query.skip, query.has_text) == (100, 0, False)

    @pytest.mark.parametrize(
        ("text", "number"), [("0", 0), ("+7", 7), (" 12 ", 12), ("10000", 10000)]
    )
    def test_counts(self, text, number):
        assert parse_query({"limit": [text]}).limit == number
        assert parse_query({"skip": [text]}).skip == number

    @pytest.mark.parametrize("text", ["-1", "1.0", "x", "", "9" * 20, "1e3", "٣"])
    @pytest.mark.parametrize("key", ["limit", "skip"])
    def test_bad_counts(self, key, text):
        with pytest.raises(InvalidInputError, match=f"^{key}: must be an integer from 0 to "):
            parse_query({key: [text]})

    def test_words_and_phrases(self):
        query = parse_query({"search": ["One two", "ONE  "], "exactsearch": [" A b ", "a B", ""]})
        assert (query.words, query.phrases) == (("one", "two"), ("a b",))

    def test_how_much_may_be_asked(self):
        parse_query({"a": ["1"] * 50, "search": ["x " * 49 + "y"]})
        with pytest.raises(InvalidInputError, match="at most 100 conditions"):
            parse_query({"a": ["1"] * 101})
        with pytest.raises(InvalidInputError, match="at most 1000 values"):
            parse_query({"a.in": ["[1,1,1,1,1,1,1,1,1,1,1]"] * 99})
        with pytest.raises(InvalidInputError, match="at most 100 conditions"):
            parse_query({"search": [" ".join(map(str, range(101)))]})
        with pytest.raises(InvalidInputError, match=r"^search: must be at most 1000"):
            parse_query({"search": ["x" * 1001]})

    @pytest.mark.parametrize("text", ["logs", "Logs", "LOGS"])
    def test_kinds(self, text):
        assert parse_kind(text) is SearchKind.LOGS

    def test_no_such_kind(self):
        with pytest.raises(InvalidInputError, match="actors, executions, workers, logs can"):
            parse_kind("nonces")
