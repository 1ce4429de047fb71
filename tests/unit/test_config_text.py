"""abaco.conf says what the settings classes say."""

import re
from pathlib import Path

import pytest
from pydantic import SecretStr

from abaco.config import Settings, load
from abaco.config_text import allowed, is_optional, render, section_classes, value_text

CONF = Path(__file__).parents[2] / "abaco.conf"

SECTIONS = section_classes()
KEYS = [(name, key) for name, section in SECTIONS.items() for key in section.model_fields]


def uncommented(text: str) -> str:
    """Make every default an active line."""
    return re.sub(r"^#(?=[a-z])", "", text, flags=re.M)


def keys_of(text: str) -> dict[tuple[str, str], str]:
    found, section = {}, ""
    for line in text.splitlines():
        if line.startswith("["):
            section = line.strip("[]")
        elif line and not line.startswith("#"):
            key, _, value = line.partition(":")
            found[section, key] = value.strip()
    return found


def test_the_file_in_the_repository_is_what_init_writes():
    assert CONF.read_text(encoding="utf-8") == render()


def test_the_files_keys_are_those_of_the_classes():
    assert list(keys_of(uncommented(render()))) == KEYS


def test_as_written_the_file_changes_nothing(tmp_path):
    found = load(CONF, environment={})
    assert found.origins == {}
    assert load(environment={}, directory=tmp_path).settings == found.settings


def test_with_every_default_active_the_settings_are_the_same(tmp_path):
    path = tmp_path / "all.conf"
    path.write_text(uncommented(render()))
    found = load(path, environment={})
    assert found.settings == Settings()
    assert set(found.origins) == set(KEYS)


@pytest.mark.parametrize(("section", "key"), KEYS, ids=lambda name: name)
def test_every_key_is_described_with_what_it_takes(section, key):
    field = SECTIONS[section].model_fields[key]
    assert field.description
    assert field.description.endswith(".")
    flat = re.sub(r"\n# ", " ", render())
    assert f"{field.description} Allowed: {allowed(field)}." in flat


def test_chosen_values_are_active_lines():
    text = render({("web", "port"): "81"})
    assert "\nport: 81\n" in text
    assert "\n#port" not in text
    assert "\n#case: snake\n" in text


def test_no_line_is_wider_than_a_page():
    assert max(len(line) for line in render().splitlines()) <= 100


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, ""),
        (True, "true"),
        (False, "false"),
        (-1, "-1"),
        (Path("/x"), "/x"),
        (SecretStr("hunter2"), "(hidden)"),
    ],
)
def test_values_are_spelled_as_the_file_does(value, text):
    assert value_text(value) == text


def test_only_keys_without_default_may_be_empty():
    optional = {
        (name, key)
        for name, section in SECTIONS.items()
        for key, field in section.model_fields.items()
        if is_optional(field)
    }
    assert optional == {
        place for place in KEYS if SECTIONS[place[0]].model_fields[place[1]].default is None
    }


@pytest.mark.parametrize(
    ("section", "key", "text"),
    [
        ("workers", "actor_uid", "a whole number from 0 to 4294967294, or nothing"),
        ("workers", "actor_homedir", "a path without '..', or nothing"),
        ("identity", "gid", "a whole number from 0 to 4294967294, or nothing"),
        ("workers", "least_uid", "a whole number from 0"),
        ("logs", "file", "a path, or nothing"),
    ],
)
def test_an_optional_key_says_what_it_takes_too(section, key, text):
    assert allowed(SECTIONS[section].model_fields[key]) == text
