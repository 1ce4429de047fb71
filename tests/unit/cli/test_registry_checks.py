"""``abaco doctor`` on accounts at registries."""

from __future__ import annotations

import json
from pathlib import Path

from abaco.cli.checks import CHECKS
from abaco.cli.findings import Level
from abaco.cli.registry_checks import check_registries
from abaco.config import Settings


def with_file(path: Path) -> Settings:
    return Settings.model_validate(
        {"registries": {"host.example": {"dev_username": "x", "dev_password_file": path}}}
    )


def test_it_is_among_the_checks() -> None:
    assert check_registries in CHECKS


def test_without_accounts_there_is_nothing_to_say() -> None:
    assert list(check_registries(Settings())) == []


def test_accounts_that_can_be_read_are_good(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("hunter2")
    secret.chmod(0o600)
    (finding,) = check_registries(with_file(secret))
    assert (finding.level, finding.remedy) == (Level.OK, "")
    assert "host.example" in finding.what


def test_a_file_that_is_not_there_is_named_with_its_key(tmp_path: Path) -> None:
    (finding,) = check_registries(with_file(tmp_path / "none"))
    assert finding.level is Level.ERROR
    assert "[registry:host.example] dev_password_file" in finding.what
    assert finding.remedy


def test_a_file_that_others_can_read_is_no_secret(tmp_path: Path) -> None:
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"auths": {}}))
    config.chmod(0o644)
    settings = Settings.model_validate({"engine": {"registry_config": config}})
    good, bad = check_registries(settings)
    assert good.level is Level.OK
    assert (bad.level, bad.remedy) == (Level.WARNING, f"chmod 600 {config}")
