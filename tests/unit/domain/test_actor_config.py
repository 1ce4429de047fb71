"""Names, values and lists of configs."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from abaco.domain.actor_config import (
    FORBIDDEN_CHARACTERS,
    MAX_ACTORS,
    MAX_NAME_LENGTH,
    RESERVED,
    ConfigKey,
    check_actors,
    check_name,
    check_value,
    split_actors,
    without_actor,
)
from abaco.domain.context import MAX_VARIABLE_BYTES
from abaco.domain.ids import Tenant
from abaco.domain.permission import ObjectKey, ObjectKind
from abaco.errors import InvalidInputError
from tests.support.records import a_config

entries = st.text(st.characters(exclude_characters=","), min_size=1, max_size=5)
lists = st.lists(entries | st.sampled_from(["a", "b", "ab"]), min_size=1).map(",".join)


def refused(field: str, function, text: str) -> str:
    with pytest.raises(InvalidInputError) as caught:
        function(text)
    assert caught.value.field == field
    return caught.value.message


class TestNames:
    @pytest.mark.parametrize("name", ["a", "x.y", "é☃", "100%", '"\\', "search", "x" * 255, "-"])
    def test_these_are_names(self, name: str) -> None:
        assert check_name(name) == name

    @pytest.mark.parametrize("name", sorted(RESERVED))
    def test_names_with_a_use_are_reserved(self, name: str) -> None:
        assert "reserved" in refused("name", check_name, name)
        assert check_name(f"{name}1")

    def test_the_contract_reserves_these(self) -> None:
        words = "executions nonces logs messages adapters admin utilization permissions"
        assert frozenset(words.split()) == RESERVED
        assert frozenset(" :/?#[]@!$&'()*+,;=") == FORBIDDEN_CHARACTERS

    @pytest.mark.parametrize("char", [*sorted(FORBIDDEN_CHARACTERS), "\n", "\0", "\u200b"])
    def test_what_a_path_cannot_hold(self, char: str) -> None:
        assert repr(char) in refused("name", check_name, f"a{char}b")

    @pytest.mark.parametrize("name", ["", ".", "..", "x" * (MAX_NAME_LENGTH + 1)])
    def test_too_short_and_too_long(self, name: str) -> None:
        refused("name", check_name, name)


class TestValues:
    def test_what_could_fit_is_taken(self) -> None:
        for value in ("", "x" * MAX_VARIABLE_BYTES):
            assert check_value(value) == value

    @pytest.mark.parametrize("char", ["x", "☃"])
    def test_what_never_fits_is_refused_and_not_repeated(self, char: str) -> None:
        value = char * (MAX_VARIABLE_BYTES // len(char.encode()) + 1)
        text = refused("value", check_value, value)
        assert char * 3 not in text
        assert str(MAX_VARIABLE_BYTES) in text


class TestLists:
    @pytest.mark.parametrize(
        ("text", "found"),
        [
            ("a", ["a"]),
            ("a,b", ["a", "b"]),
            (" a , b\t,a ", ["a", "b"]),
            ("ab,a b", ["ab", "a b"]),
        ],
    )
    def test_entries_stand_between_commas(self, text: str, found: list[str]) -> None:
        assert check_actors(text) == text
        assert split_actors(text) == found
        assert a_config(text).identifiers == found

    @pytest.mark.parametrize("text", ["", " ", ",", "a,", ",a", "a,,b", "a, ,b"])
    def test_an_empty_entry_is_refused(self, text: str) -> None:
        refused("actors", check_actors, text)

    def test_so_many_and_no_more(self) -> None:
        assert check_actors(",".join("a" * MAX_ACTORS))
        assert str(MAX_ACTORS) in refused("actors", check_actors, ",".join("a" * (MAX_ACTORS + 1)))

    @pytest.mark.parametrize(
        ("text", "left"),
        [
            ("a", ""),
            (" a ", ""),
            ("a,b", "b"),
            ("a, b", "b"),
            ("b , a", "b"),
            ("ab,a,ba", "ab,ba"),
            ("b, a,c ,a", "b,c"),
            ("b", "b"),
        ],
    )
    def test_what_is_deleted_is_taken_out(self, text: str, left: str) -> None:
        assert without_actor(text, "a") == left

    @given(text=lists, gone=st.sampled_from(["a", "b", "ab"]))
    def test_the_others_stay(self, text: str, gone: str) -> None:
        left = split_actors(without_actor(text, gone))
        assert left == [each for each in split_actors(text) if each != gone]


def test_the_key_of_its_permissions() -> None:
    config = a_config("a", "limits")
    assert config.key == ConfigKey(Tenant("DEV"), "limits")
    assert config.shared == ObjectKey(ObjectKind.CONFIG, Tenant("DEV"), "limits")
