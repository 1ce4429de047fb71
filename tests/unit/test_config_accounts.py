"""Service accounts of tenants, in the file and in the environment of the older Abaco."""

from __future__ import annotations

import pytest

from abaco.config import load
from abaco.errors import ConfigError


@pytest.fixture
def read(tmp_path):
    def read_text(text="", **environment):
        path = tmp_path / "abaco.conf"
        path.write_text(text)
        return load(path, environment=environment)

    return read_text


def test_none(read):
    assert read().settings.oauth.accounts() == {}


def test_in_the_environment_as_before(read):
    variables = {
        "_abaco_DEV-DEVELOP_username": "svc",
        "_abaco_DEV-DEVELOP_password": "pa:ss",
        "_abaco_TACC_PROD_username": "prod",
        "_abaco_TACC_PROD_password": "other",
    }
    found = read(**variables).settings.oauth.accounts()
    assert found == {"dev_develop": ("svc", "pa:ss"), "tacc_prod": ("prod", "other")}


def test_the_environment_wins_over_the_file(read):
    text = "[oauth]\ndev_username: one\ndev_password: two\nusername: all\npassword: everybody\n"
    assert read(text).settings.oauth.accounts() == {
        None: ("all", "everybody"),
        "dev": ("one", "two"),
    }
    found = read(text, _abaco_DEV_password="three").settings.oauth.accounts()
    assert found["dev"] == ("one", "three")


def test_the_name_of_today_wins_over_that_of_then(read):
    variables = {"_abaco_DEV_username": "then", "ABACO__OAUTH__DEV_USERNAME": "today"}
    found = read("[oauth]\ndev_password: x\n", **variables)
    assert found.settings.oauth.accounts() == {"dev": ("today", "x")}


@pytest.mark.parametrize(
    "name",
    [
        "_abaco_username",
        "_abaco__username",
        "_abaco_DEV_service_token",
        "_abaco_access_token",
        "_abaco_jwt_header_name",
        "_abaco_secret",
    ],
)
def test_other_variables_are_somebody_elses(read, name):
    found = read(**{name: "x"})
    assert found.settings.oauth.accounts() == {}
    assert not found.unused


def test_passwords_are_shown_to_nobody(read):
    shown = {value.key: value for value in read(_abaco_DEV_password="hunter2").effective()}
    assert shown["dev_password"].text == "(hidden)"
    assert shown["dev_password"].origin == "environment variable _abaco_DEV_password"
    assert "hunter2" not in repr(read(_abaco_DEV_password="hunter2").settings)


@pytest.mark.parametrize(
    ("there", "missing"),
    [
        ("_abaco_DEV_username", "dev_password"),
        ("_abaco_DEV_password", "dev_username"),
        ("oauth_username", "password"),
        ("oauth_password", "username"),
    ],
)
def test_half_an_account_stops_a_server_that_needs_it(read, there, missing):
    text = "[runtime]\ntoken_provider: oauth_clients\n"
    with pytest.raises(ConfigError) as caught:
        read(text, **{there: "hunter2"})
    assert f"[oauth] {missing}: a service account has a user and a password" in str(caught.value)
    assert "hunter2" not in str(caught.value)
    assert read(**{there: "hunter2"})  # and no other


def test_an_empty_user_is_none(read):
    assert read(_abaco_DEV_username="", _abaco_DEV_password="").settings.oauth.accounts() == {}
