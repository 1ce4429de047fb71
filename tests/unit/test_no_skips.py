"""The option --no-skips, shown on a suite of its own."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PLUGIN = Path(__file__).parents[1] / "support" / "no_skips.py"

SKIPS_A_TEST = "import pytest\n@pytest.mark.skipif(True, reason='no engine')\ndef test(): pass\n"
SKIPS_IN_THE_TEST = "import pytest\ndef test(): pytest.skip('no engine')\n"
SKIPS_A_MODULE = "import pytest\npytest.skip('no engine', allow_module_level=True)\n"
PASSES = "def test(): pass\n"


def run(directory: Path, source: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    shutil.copy(PLUGIN, directory / "conftest.py")
    (directory / "test_it.py").write_text(source)
    (directory / "pytest.ini").write_text("[pytest]\n")
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *arguments, str(directory)],
        cwd=directory,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("source", [SKIPS_A_TEST, SKIPS_IN_THE_TEST, SKIPS_A_MODULE])
def test_a_skip_becomes_a_failure_with_its_reason(tmp_path, source):
    result = run(tmp_path, source, "--no-skips")
    assert result.returncode != 0
    assert "no engine" in result.stdout
    assert "nothing may be skipped" in result.stdout


def test_without_the_option_a_skip_is_a_skip(tmp_path):
    result = run(tmp_path, SKIPS_A_TEST)
    assert result.returncode == 0
    assert "1 skipped" in result.stdout


def test_a_test_that_passes_still_passes(tmp_path):
    assert run(tmp_path, PASSES, "--no-skips").returncode == 0
