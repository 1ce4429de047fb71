"""A few of the requests that ``scripts/fuzz`` sends, against real servers."""

import json

import pytest

from tests.http.test_description import DOCUMENT, VERBS
from tests.support import fuzz

#: per operation; ``scripts/fuzz`` sends many times as much
EXAMPLES = 4

#: what each mode is tried with here; the values at the edges are the same in both
PHASES = {"jwt": "examples,coverage,fuzzing,stateful", "none": "fuzzing,stateful"}


@pytest.mark.timeout(900)
@pytest.mark.parametrize("mode", PHASES)
def test_whatever_comes_is_answered_as_described(mode, tmp_path):
    path = tmp_path / "report.json"
    more = ("--phases", PHASES[mode], "--report", "json", "--report-json-path", str(path))
    code = fuzz.fuzz(mode, EXAMPLES, "--seed", "1", *more)
    report = json.loads(path.read_text())
    assert (code, report["failures"], report["errors"]) == (0, [], [])
    names = {
        f"{verb.upper()} {path}"
        for path, item in DOCUMENT["paths"].items()
        for verb in item
        if verb in VERBS
    }
    # Schemathesis leaves out where it has the description from.
    assert report["operations"]["tested"] == len(names - {"GET /openapi.json"})
    if "coverage" in PHASES[mode]:
        # Nothing is shown by requests of which all meet a 404.
        accepted = {
            name
            for name, phases in report["valid_rates"].items()
            if any(phase["accepted"] for phase in phases.values())
        }
        assert {name for name in names if "{" in name} - accepted == set()
