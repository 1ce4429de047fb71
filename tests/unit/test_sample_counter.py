"""The sample actor that keeps a state, as a program of this machine, against a stub."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.stub_api import serve_stub

COUNTER = Path(__file__).parents[2] / "samples/counter/counter.sh"


@pytest.fixture
def stub():
    with serve_stub() as api:
        api.answer("POST", "/actors/v2/a1/state", {})
        yield api


@pytest.fixture
def count(stub, tmp_path):
    """Run it with the wget it has in its container, or one that understands the same."""
    path = os.environ["PATH"]
    if busybox := shutil.which("busybox"):
        (tmp_path / "wget").symlink_to(busybox)
        path = f"{tmp_path}:{path}"

    def run_counter(state, execution="e9", **environment):
        variables = {
            "PATH": path,
            "MSG": "hi",
            "_abaco_api_server": stub.url,
            "_abaco_actor_id": "a1",
            "_abaco_execution_id": execution,
            "_abaco_actor_state": state,
        }
        return subprocess.run(
            ["sh", COUNTER],
            env=variables | environment,
            capture_output=True,
            text=True,
            check=False,
        )

    return run_counter


@pytest.mark.parametrize(
    ("state", "after"), [("{}", 1), ("{'count': 41, 'last': 'e8'}", 42), ("nonsense", 1)]
)
def test_it_writes_the_next_count(stub, count, state, after):
    result = count(state)
    assert result.returncode == 0, result.stderr
    assert f"message number {after}: hi" in result.stdout
    (asked,) = stub.asked
    assert asked.json == {"count": after, "last": "e9"}
    assert asked.headers["Content-Type"] == "application/json"


def test_what_it_wrote_is_what_it_reads(stub, count):
    count("{}")
    count(repr(stub.asked[-1].json), execution="e10")
    assert stub.asked[-1].json == {"count": 2, "last": "e10"}


def test_an_execution_that_runs_again_is_counted_once(stub, count):
    result = count("{'count': 5, 'last': 'e9'}")
    assert result.returncode == 0
    assert "counted already: 5" in result.stdout
    assert stub.asked == []


def test_with_access_control_it_proves_who_it_is(stub, count):
    count("{}", _abaco_access_token="abc.def")
    assert stub.asked[0].headers["Authorization"] == "Bearer abc.def"


def test_a_state_that_cannot_be_written_is_a_failure(count):
    result = count("{}", _abaco_api_server="http://127.0.0.1:1")
    assert result.returncode == 1
    assert "the state cannot be written at http://127.0.0.1:1/actors/v2/a1" in result.stderr
