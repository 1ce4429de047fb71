"""The tables of older keys hold together."""

import itertools

import pytest

from abaco.config_text import section_classes
from abaco.legacy_keys import (
    LEGACY_SECTIONS,
    MEANINGLESS,
    NOT_YET,
    RENAMED,
    RENAMED_ENVIRONMENT,
    find_legacy_key,
    find_renamed,
)

SECTIONS = section_classes()
ALL = [*MEANINGLESS, *NOT_YET]


def example(key: str) -> str:
    return key.replace("<n>", "12").replace("<module>", "worker").replace("<tenant>", "dev-x")


@pytest.mark.parametrize("legacy", ALL, ids=lambda legacy: legacy.key)
def test_every_entry_finds_itself(legacy):
    assert find_legacy_key(legacy.section, example(legacy.key)) == legacy


def test_no_entry_hides_a_key_that_works():
    for name, section in SECTIONS.items():
        for key in section.model_fields:
            assert find_legacy_key(name, key) is None, (name, key)


def test_no_two_entries_cover_the_same_key():
    for one, other in itertools.permutations(ALL, 2):
        assert not one.matches(other.section, example(other.key)), (one, other)


def test_every_section_is_known():
    for legacy in ALL:
        assert legacy.section in {*SECTIONS, *LEGACY_SECTIONS}


@pytest.mark.parametrize("target", [*RENAMED.values(), *RENAMED_ENVIRONMENT.values()])
def test_new_names_exist(target):
    section, key = target
    assert key in SECTIONS[section].model_fields


def test_older_names_are_not_names_of_today():
    for section, key in RENAMED:
        assert section not in SECTIONS or key not in SECTIONS[section].model_fields
        assert find_legacy_key(section, key) is None


@pytest.mark.parametrize(
    ("section", "key"),
    [
        ("docker", "dockerhub_password_"),
        ("docker", "dockerhub_password_x"),
        ("workers", "_generate_clients"),
        ("web", "uri"),
        ("logs", "level."),
    ],
)
def test_what_is_almost_a_family_is_not(section, key):
    assert find_legacy_key(section, key) is None
    assert find_renamed(section, key) is None


def test_accounts_at_docker_hub_have_a_section_of_their_own():
    for key in ("username_7", "password_7"):
        assert find_renamed("docker", f"dockerhub_{key}") == ("registry:docker.io", key)
    assert find_renamed("docker", "dd") == ("engine", "docker_socket")
    assert find_renamed("web", "dockerhub_username_7") is None


def test_passwords_and_keys_are_secrets():
    secret = {legacy.key for legacy in ALL if legacy.is_secret}
    assert secret == {"uri", "mongo_password"}
