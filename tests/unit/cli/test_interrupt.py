"""Ctrl-C while a command waits, and a standard output that cannot be written: real processes."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.unit.cli.conftest import an_actor, an_execution

EXECUTION = "/actors/a1/executions/e1"


@pytest.fixture
def start(stub):
    """Start the command line against the stub; it is killed at the end."""
    started = []

    def start_command(*arguments, **options):
        process = subprocess.Popen(
            [sys.executable, "-m", "abaco", *arguments],
            env=os.environ | {"ABACO_URL": stub.url},
            stderr=subprocess.PIPE,
            text=True,
            # a shell starts what it runs in the background, a CI perhaps, with Ctrl-C ignored
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
            **{"stdout": subprocess.PIPE} | options,
        )
        started.append(process)
        return process

    yield start_command
    for process in started:
        process.kill()
        process.communicate()


def interrupt_when_asked(stub, process, uri):
    """Press Ctrl-C once the command has asked for this."""
    deadline = time.monotonic() + 20
    while not any(asked.uri == uri for asked in stub.asked):
        assert time.monotonic() < deadline, "the command never asked"
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    return process.communicate(timeout=20)


@pytest.fixture
def _running(stub):
    stub.answer("GET", "/actors/a1", an_actor())
    stub.answer("POST", "/actors/a1/messages", {"execution_id": "e1"})
    stub.answer("GET", EXECUTION, an_execution(status="RUNNING"))
    stub.answer("GET", f"{EXECUTION}/logs", {"logs": "begun\n"})


@pytest.mark.usefixtures("_running")
@pytest.mark.parametrize(
    "command",
    [
        ["send", "a1", "hi", "--wait"],
        ["send", "a1", "hi", "--wait", "-o", "json"],
        ["logs", "a1", "e1", "--follow"],
    ],
)
def test_watching_ends_and_the_execution_goes_on(stub, start, command):
    process = start(*command)
    _, err = interrupt_when_asked(stub, process, f"{EXECUTION}/logs")
    assert process.returncode == 130
    assert "execution e1 goes on; `abaco logs a1 e1 --follow` shows its log" in err
    assert "Traceback" not in err
    assert "Abort" not in err


def test_waiting_for_an_actor_ends_and_it_goes_on(stub, start):
    stub.answer("POST", "/actors", an_actor(status="SUBMITTED"))
    stub.answer("GET", "/actors/a1", an_actor(status="SUBMITTED"))
    stub.answer("GET", "/actors/a1/workers", [])
    process = start("actors", "create", "img", "--wait")
    _, err = interrupt_when_asked(stub, process, "/actors/a1/workers")
    assert process.returncode == 130
    assert "actor a1 goes on getting ready; `abaco actors show a1`" in err
    assert "Traceback" not in err


class TestFullDisk:
    @pytest.fixture
    def full(self):
        with Path("/dev/full").open("w") as device:
            yield device

    @pytest.mark.parametrize("unbuffered", ["", "1"])
    @pytest.mark.parametrize(
        "command", [["actors", "list"], ["actors", "list", "--json"], ["--help"]]
    )
    def test_one_line_says_so(self, stub, start, full, monkeypatch, command, unbuffered):
        monkeypatch.setenv("PYTHONUNBUFFERED", unbuffered)
        stub.answer("GET", "/actors", [an_actor()])
        process = start(*command, stdout=full)
        _, err = process.communicate(timeout=20)
        assert process.returncode == 1
        assert err == "Error: standard output cannot be written: No space left on device\n"

    def test_a_reader_that_leaves_is_no_error_of_ours(self, stub, start):
        stub.answer("GET", "/actors", [an_actor()] * 5000)
        process = start("actors", "list")
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == ""


def test_other_errors_of_the_system_keep_their_traceback(start):
    # The command line itself is broken here: nobody is served by hiding where.
    code = (
        "import click, abaco.cli.main as m\n"
        "def fail(): raise OSError(5, 'odd')\n"
        "m.cli.add_command(click.Command('fail', callback=fail))\n"
        "m.main()"
    )
    result = subprocess.run(
        [sys.executable, "-c", code, "fail"], capture_output=True, text=True, check=False
    )
    assert result.returncode == 1
    assert "Traceback" in result.stderr
    assert "odd" in result.stderr


def test_standard_input_that_is_no_text_is_refused(stub, start):
    process = start("send", "a1", stdin=subprocess.PIPE)
    process.stdin.buffer.write(b"\xff\xfe")
    _, err = process.communicate(timeout=20)
    assert process.returncode == 2
    assert "not UTF-8 text; --file sends bytes as they are" in err
    assert stub.asked == []
