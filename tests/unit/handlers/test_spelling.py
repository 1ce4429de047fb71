"""Snake and camel."""

import pytest

from handlers.spelling import dress, spell, to_camel


@pytest.mark.parametrize(
    ("snake", "camel"),
    [
        ("execution_id", "executionId"),
        ("use_container_uid", "useContainerUid"),
        ("log_ex", "logEx"),
        ("image", "image"),
        ("_links", "_links"),
        ("_metadata", "_metadata"),
        ("_two_words", "_twoWords"),
        ("max_cpus", "maxCpus"),
        ("", ""),
    ],
)
def test_to_camel(snake, camel):
    assert to_camel(snake) == camel
    assert spell(snake, "camel") == camel
    assert spell(snake, "snake") == snake


def test_dress_touches_only_the_top_level():
    record = {"final_state": {"exit_code": 0}, "default_environment": {"my_key": None}}
    assert dress(record, "camel") == {
        "finalState": {"exit_code": 0},
        "defaultEnvironment": {"my_key": None},
    }


def test_nulls_are_kept_in_snake_and_left_out_in_camel():
    record = {"log_ex": None, "state": {}}
    assert dress(record, "snake") == record
    assert dress(record, "camel") == {"state": {}}
    assert dress(record, "camel", keep_nulls=True) == {"logEx": None, "state": {}}


def test_dress_returns_a_new_record():
    record = {"a": 1}
    dress(record, "snake")["b"] = 2
    assert record == {"a": 1}
