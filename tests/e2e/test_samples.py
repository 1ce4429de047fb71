"""Every sample at work over every real engine: its image and its demo as users have them."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.engines import Engine, PrivatePodman
from tests.support.server import Server, a_server
from tests.support.serving import settings_for

ROOT = Path(__file__).parents[2]
SAMPLES = sorted(path.parent.name for path in ROOT.glob("samples/*/demo"))

Demo = Callable[[str], str]


def test_every_sample_has_all_that_belongs_to_it() -> None:
    table = (ROOT / "samples/README.rst").read_text(encoding="utf-8")
    named = re.findall(r"^``(\w+)`` ", table, re.MULTILINE)
    assert sorted(named) == SAMPLES
    assert sorted(path.parent.name for path in ROOT.glob("samples/*/build")) == SAMPLES


def test_a_sample_that_is_not_there_is_told() -> None:
    done = subprocess.run(
        [ROOT / "samples/run", "nothing"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert f"samples: {' '.join(SAMPLES)}" in done.stderr


@pytest.fixture
def server(engine: Engine, tmp_path: Path) -> Iterator[Server]:
    with a_server(tmp_path, settings_for(engine)) as server:
        yield server


@pytest.fixture
def programs(engine: Engine, tmp_path: Path) -> dict[str, str]:
    """What the programs of samples are given: this engine, this server, this Abaco."""
    tools = tmp_path / "tools"
    tools.mkdir()
    options = engine.options if isinstance(engine, PrivatePodman) else ["-H", engine.endpoint]
    words = " ".join([str(shutil.which(engine.kind)), *options])
    for name, line in {"engine": words, "abaco": f"{sys.executable} -m abaco"}.items():
        (tools / name).write_text(f'#!/bin/sh\nexec {line} "$@"\n')
        (tools / name).chmod(0o755)
    return {
        **os.environ,
        **engine.environment(),
        "PATH": f"{tools}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "PYTHON": sys.executable,
        "ABACO_PYTHON": sys.executable,
        "SCRATCH": str(tmp_path),
    }


@pytest.fixture
def demo(server: Server, programs: dict[str, str]) -> Demo:
    """Build a sample, and run its demo."""

    def run(sample: str) -> str:
        image = f"abaco/{sample}"
        environment = {**programs, "ABACO_URL": server.url, "IMAGE": image}
        for command in ([f"samples/{sample}/build", "engine"], [f"samples/{sample}/demo"]):
            done = subprocess.run(
                command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    return run


def test_in_shell(demo: Demo) -> None:
    assert "You said: How are you?" in demo("hello")
    counted = demo("counter")
    assert "message number 3: three" in counted
    assert '"count": 3' in counted


def test_words_are_counted_and_added_up(demo: Demo, server: Server) -> None:
    said = demo("wordcount")
    assert "2 to\n2 be\n" in said
    total = json.loads(said[said.rindex("\n{") :])["total"]
    assert (total["be"], total["question"], total["whether"]) == (2, 1, 1)
    actor = next(a["id"] for a in server.call("GET", "/actors") if a["name"] == "wordcount")
    results = [
        json.loads(result)
        for execution in server.executions(actor)
        for result in server.results(actor, execution["id"])
    ]
    assert results[0] == {"to": 2, "be": 2, "or": 1, "not": 1}
    # the same again, from the same execution, is not added
    reducer = next(a["id"] for a in server.call("GET", "/actors") if a["name"] == "sum")
    again = server.send(reducer, {"count": {"whether": 1}, "from": "here"})
    server.until_final(reducer, again)
    assert server.logs(reducer, again) == "counted already: here\n"
    assert server.call("GET", f"/actors/{reducer}/state")["state"]["total"]["whether"] == 1


def test_files_are_classified(demo: Demo, server: Server) -> None:
    said = demo("classifier")
    assert re.search(r"bytes: text \(\d+%\)", said)
    assert "bytes: program (100%)" in said
    (actor,) = server.call("GET", "/actors")
    picture = server.upload(actor["id"], b"\x89PNG\r\n\x1a\n" + os.urandom(1000))["execution_id"]
    noise = server.upload(actor["id"], os.urandom(2_000_000))["execution_id"]
    text = server.send(actor["id"], "no file")
    for execution, label in ((picture, "png picture"), (noise, "compressed")):
        assert server.until_final(actor["id"], execution)["exit_code"] == 0
        (result,) = server.results(actor["id"], execution)
        assert json.loads(result)["label"] == label
    assert server.until_final(actor["id"], text)["exit_code"] == 1
    assert "not a binary one" in server.logs(actor["id"], text)


def test_functions_are_mapped(demo: Demo, server: Server) -> None:
    said = demo("executor")
    assert "the same here and there: True" in said
    assert "an exception comes back: ValueError" in said
    assert server.call("GET", "/actors") == []


def test_events_are_relayed(demo: Demo, server: Server) -> None:
    said = demo("relay")
    assert "passed on: 204" in said
    words = "actor a1 is in ERROR: no image"
    (line,) = [line for line in said.splitlines() if line.startswith("{")]
    assert json.loads(line)["text"] == words
    (actor,) = server.call("GET", "/actors")
    # the chat is gone by now; a real event says so in the log
    linked = server.register("abaco/relay", link=actor["id"])
    server.send(linked, "x")

    def told() -> str | None:
        # every event is an execution of its own, and the newest may not have said anything yet
        for execution in server.executions(actor["id"])[1:]:
            log = server.logs(actor["id"], execution["id"])
            if "nobody there" in log:
                return log
        return None

    log = server.until(told, "an event to be relayed")
    assert re.search(rf"of actor {linked} ended with 1\n|{linked} is ready", log)


def test_what_happened_is_reported(demo: Demo, server: Server) -> None:
    said = demo("report")
    assert said.count("2 actors, 1 of them busy\nother: 1 COMPLETE\n") == 2
    actor = next(a for a in server.call("GET", "/actors") if a["name"] == "report")
    assert actor["cron_schedule"]
    first, *_ = server.executions(actor["id"])
    (result,) = server.results(actor["id"], first["id"])
    assert result.startswith(b"2 actors")
