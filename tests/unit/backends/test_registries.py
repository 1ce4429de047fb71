"""Accounts at registries: whose they are, where they are read from, and that they stay secret."""

from __future__ import annotations

import base64
import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from abaco.config import Configuration, Settings, load
from abaco.domain.ids import Tenant
from abaco.errors import ConfigError, DriverError
from abaco.ports.driver import Credentials
from backends.registries import ConfiguredRegistries, check_accounts, read_login_file

HOST = "registry.example.org:5000"
DEV, OTHER = Tenant("DEV-DEVELOP"), Tenant("OTHER")

Read = Callable[[str], Configuration]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    def read(text: str) -> Configuration:
        path = tmp_path / "abaco.conf"
        path.write_text(text)
        return load(path, environment={})

    return read


def a_login_file(path: Path, auths: dict[str, Any], **more: Any) -> Path:
    path.write_text(json.dumps({"auths": auths, **more}))
    return path


def basic(text: str) -> dict[str, str]:
    return {"auth": base64.b64encode(text.encode()).decode()}


async def account(settings: Settings, host: str, tenant: Tenant) -> tuple[str, str, bool] | None:
    found = await ConfiguredRegistries(settings).find_account(host, tenant)
    if found is None:
        return None
    return found.credentials.username, found.credentials.password, found.is_own


async def test_a_tenants_own_account_wins(read: Read, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("from a file\n")
    settings = read(
        f"[registry:{HOST}]\nusername: all\npassword: for all\n"
        f"dev_develop_username: dev\ndev_develop_password_file: {tmp_path}/secret\n"
    ).settings
    assert await account(settings, HOST, DEV) == ("dev", "from a file", True)
    assert await account(settings, HOST, OTHER) == ("all", "for all", False)
    assert await account(settings, "docker.io", DEV) is None
    registries = ConfiguredRegistries(settings)
    assert registries.is_guarded(HOST)
    assert not registries.is_guarded("docker.io")


async def test_without_an_account_for_all_others_have_none(read: Read) -> None:
    text = f"[registry:{HOST}]\ndev_develop_username: dev\ndev_develop_password: pw\n"
    assert await account(read(text).settings, HOST, OTHER) is None


async def test_a_registry_for_everybody_is_not_guarded(read: Read) -> None:
    settings = read(f"[registry:{HOST}]\nusername: all\npassword: pw\n").settings
    assert not ConfiguredRegistries(settings).is_guarded(HOST)


@pytest.mark.parametrize(
    "host", ["docker.io", "index.docker.io", "https://index.docker.io/v1/", "Docker.IO"]
)
async def test_docker_hub_has_many_names(read: Read, host: str) -> None:
    settings = read(f"[registry:{host}]\nusername: all\npassword: pw\n").settings
    assert await account(settings, "docker.io", DEV) == ("all", "pw", False)


async def test_keys_of_older_files_are_accounts_at_docker_hub(read: Read) -> None:
    found = read(
        "[docker]\ndockerhub_username_1: one\ndockerhub_password_1: pw1\n"
        "dockerhub_username_2: two\ndockerhub_password_2: pw2\n"
    )
    assert not list(found.notices())
    seen = {await account(found.settings, "docker.io", DEV) for _ in range(60)}
    assert seen == {("one", "pw1", False), ("two", "pw2", False)}


async def test_one_of_several_is_taken_by_chance(read: Read) -> None:
    settings = read(
        "[registry:docker.io]\nusername: zero\npassword: pw0\nusername_7: seven\npassword_7: pw7\n"
    ).settings
    last = ConfiguredRegistries(settings, choose=lambda accounts: accounts[-1])
    found = await last.find_account("docker.io", DEV)
    assert found is not None
    assert found.credentials == Credentials(username="seven", password="pw7")


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("username: x", "username: needs a password"),
        ("password: hunter2", "username: needed beside its password"),
        ("dev_username: x", "dev_username: needs a password"),
        ("password_3: hunter2", "username_3: needed beside its password"),
        ("pasword: hunter2", "pasword: unknown key; did you mean 'password'"),
        ("username: x\npassword_file: /none/such\nusername_1: y", "username_1: needs a password"),
    ],
)
def test_half_an_account_stops_the_start(read: Read, text: str, key: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(f"[registry:{HOST}]\n{text}\n")
    assert f"[registry:{HOST}] {key}" in caught.value.message
    assert "abaco.conf: " in caught.value.message
    assert "hunter2" not in caught.value.message


@pytest.mark.parametrize("name", ["registry:", "registry:a b", "registry:x:y:z", "registries:x"])
def test_what_is_no_registry_is_no_section(read: Read, name: str) -> None:
    with pytest.raises(ConfigError, match="unknown section"):
        read(f"[{name}]\nusername: x\npassword: y\n")


def test_passwords_are_hidden_in_what_is_in_force(read: Read, tmp_path: Path) -> None:
    found = read(
        f"[registry:{HOST}]\nusername: all\npassword: hunter2\n"
        "dev_username: dev\ndev_password: hunter3\n[docker]\ndockerhub_username_1: hub\n"
        "dockerhub_password_1: hunter4\n"
    )
    values = {(each.section, each.key): each.text for each in found.effective()}
    assert values[f"registry:{HOST}", "username"] == "all"
    assert values[f"registry:{HOST}", "password"] == "(hidden)"
    assert values[f"registry:{HOST}", "dev_username"] == "dev"
    assert values[f"registry:{HOST}", "dev_password"] == "(hidden)"
    assert values["registry:docker.io", "username_1"] == "hub"
    assert values["registry:docker.io", "password_1"] == "(hidden)"
    assert "hunter" not in repr(found.settings)
    assert "hunter" not in repr(values)


def test_environment_variables_set_them_too() -> None:
    found = load(
        environment={
            f"ABACO__REGISTRY:{HOST.upper()}__USERNAME": "jane",
            f"ABACO__REGISTRY:{HOST.upper()}__PASSWORD": "pw",
            "docker_dockerhub_username_1": "hub",
            "docker_dockerhub_password_1": "pw",
        }
    )
    assert found.settings.registries[HOST].username == "jane"
    assert "docker.io" in found.settings.registries


async def test_the_file_of_docker_login_is_for_all(tmp_path: Path) -> None:
    path = a_login_file(
        tmp_path / "config.json",
        {
            "https://index.docker.io/v1/": basic("hub:pw:with:colons"),
            HOST: {"username": "plain", "password": "pw"},
            "helped.example": {},
        },
    )
    settings = Settings.model_validate({"engine": {"registry_config": path}})
    check_accounts(settings)
    assert await account(settings, "docker.io", DEV) == ("hub", "pw:with:colons", False)
    assert await account(settings, HOST, DEV) == ("plain", "pw", False)
    assert await account(settings, "helped.example", DEV) is None


async def test_a_section_wins_over_the_file(tmp_path: Path) -> None:
    settings = Settings.model_validate(
        {
            "engine": {"registry_config": a_login_file(tmp_path / "x", {HOST: basic("file:pw")})},
            "registries": {HOST: {"dev_username": "dev", "dev_password": "pw"}},
        }
    )
    assert await account(settings, HOST, Tenant("DEV")) == ("dev", "pw", True)
    assert await account(settings, HOST, OTHER) == ("file", "pw", False)


def test_helper_programs_are_told_of_and_not_run(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = a_login_file(tmp_path / "x", {HOST: basic("a:b")}, credsStore="desktop")
    with caplog.at_level(logging.WARNING):
        assert list(read_login_file(path)) == [HOST]
    assert "credsStore" in caplog.text


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{", '{"auths": [1]}', '{"auths": {"x": "y"}}', '{"auths": {"x": {"auth": "%"}}}'],
)
def test_a_file_of_another_kind_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "x").write_text(text)
    with pytest.raises(ConfigError, match="no file of docker login"):
        read_login_file(tmp_path / "x")


def test_no_colon_is_no_account(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no file of docker login") as caught:
        read_login_file(a_login_file(tmp_path / "x", {HOST: basic("hunter2")}))
    assert "hunter2" not in str(caught.value)


async def test_a_password_can_be_replaced_while_the_server_runs(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    secret = tmp_path / "secret"
    secret.write_text("old")
    settings = Settings.model_validate(
        {"registries": {HOST: {"username": "x", "password_file": secret}}}
    )
    assert await account(settings, HOST, DEV) == ("x", "old", False)
    secret.write_text("new")
    assert await account(settings, HOST, DEV) == ("x", "new", False)
    secret.unlink()
    with pytest.raises(DriverError, match="cannot be read") as caught:
        await account(settings, HOST, DEV)
    assert str(secret) not in caught.value.message  # its owner sees that
    assert str(secret) in caplog.text


@pytest.mark.parametrize(
    ("content", "text"),
    [(None, "cannot be read"), (b"", "is empty"), (b"\xffhunter2", "not UTF-8")],
)
def test_a_password_file_that_is_no_use_stops_the_start(
    tmp_path: Path, content: bytes | None, text: str
) -> None:
    secret = tmp_path / "secret"
    if content is not None:
        secret.write_bytes(content)
    settings = Settings.model_validate(
        {"registries": {HOST: {"dev_username": "x", "dev_password_file": secret}}}
    )
    with pytest.raises(ConfigError, match=text) as caught:
        check_accounts(settings)
    assert f"[registry:{HOST}] dev_password_file: " in caught.value.message
    assert "hunter2" not in str(caught.value)


def test_a_login_file_that_is_no_use_stops_the_start(tmp_path: Path) -> None:
    settings = Settings.model_validate({"engine": {"registry_config": tmp_path / "none"}})
    with pytest.raises(ConfigError, match=r"\[engine\] registry_config: .* cannot be read"):
        check_accounts(settings)


@pytest.mark.parametrize(
    ("text", "size"), [("0", None), ("10", 10), ("3g", 3 * 1024**3), ("1t", 1024**4)]
)
def test_budgets_are_sizes(text: str, size: int | None) -> None:
    settings = Settings.model_validate({"engine": {"image_disk_budget": text}})
    assert settings.engine.image_budget_bytes == size


@pytest.mark.parametrize("text", ["-1", "1.5g", "x", "3gb", ""])
def test_what_is_no_size_is_refused(read: Read, text: str) -> None:
    with pytest.raises(ConfigError, match="image_disk_budget"):
        read(f"[engine]\nimage_disk_budget: {text}\n")
