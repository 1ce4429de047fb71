"""``docs/actors.rst`` says what the source does."""

import re
from pathlib import Path

from abaco.config import RuntimeSettings, WebSettings
from abaco.domain.context import MAX_ENVIRONMENT_BYTES, MAX_VARIABLE_BYTES, build_environment
from abaco.domain.execution import HaltReason
from abaco.domain.ids import WorkerId
from abaco.domain.log import TRUNCATED
from tests.support.records import a_message, an_actor, an_execution

ROOT = Path(__file__).parents[2]

TEXT = (ROOT / "docs/actors.rst").read_text(encoding="utf-8")


def test_it_names_every_variable_and_no_other():
    actor = an_actor()
    message = a_message(an_execution(actor), jwt_header="X")
    given = set(build_environment(actor, message, WorkerId("w"), access_token=""))
    table = TEXT.split("variable ")[1].split("\n===")[1]
    assert set(re.findall(r"^``([^`]+)``", table, re.MULTILINE)) == given


def test_it_names_the_limits():
    assert f"{MAX_VARIABLE_BYTES} bytes" in TEXT
    assert f"{MAX_VARIABLE_BYTES - len('MSG=')} for the message" in TEXT
    assert f"{MAX_ENVIRONMENT_BYTES} bytes" in TEXT
    assert f"({WebSettings().max_log_length})" in TEXT
    assert f"seconds ({RuntimeSettings().stop_grace})" in " ".join(TEXT.split())


def test_it_names_what_a_cut_log_ends_with():
    assert TRUNCATED.strip() in TEXT


def test_it_names_why_a_run_was_stopped():
    for reason in (HaltReason.FORCE_QUIT, HaltReason.TIMEOUT):
        assert f"AbacoReason: {reason}" in TEXT


def test_the_readme_leads_to_it():
    assert "docs/actors.rst" in (ROOT / "README.rst").read_text(encoding="utf-8")
