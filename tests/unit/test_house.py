"""The house rules a machine can count."""

import ast
import configparser
import functools
import re
import subprocess
from pathlib import Path

import pytest

from abaco.config_text import section_classes
from abaco.legacy_keys import MEANINGLESS, NOT_YET, RENAMED, RENAMED_ENVIRONMENT
from abaco.settings import RegistrySettings

ROOT = Path(__file__).parents[2]
ROOMS = ("abaco", "backends", "handlers", "agents")
SAMPLES = sorted(str(path.relative_to(ROOT)) for path in ROOT.glob("samples/*/"))
LONGEST_MODULE = 600
LONGEST_FUNCTION = 60
#: every key of abaco.conf, and the words by which it is read
SETTINGS = [
    pytest.param({key, *(form for form, base in cls.tenant_forms.items() if base == key)}, id=key)
    for cls in (*section_classes().values(), RegistrySettings)
    for key in cls.model_fields
]


def modules(*folders):
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def line_count(paths):
    return sum(len(path.read_text(encoding="utf-8").splitlines()) for path in paths)


def test_there_are_at_least_as_many_test_lines_as_source_lines():
    source, tests = line_count(modules(*ROOMS)), line_count(modules("tests"))
    assert tests >= source, f"{tests} lines of tests for {source} lines of source"


@functools.cache
def core_code():
    return "\n".join(path.read_text(encoding="utf-8") for path in modules(*ROOMS))


@pytest.mark.parametrize("words", SETTINGS)
def test_every_setting_is_read(words):
    assert re.search(rf"\.({'|'.join(words)})\b|\"({'|'.join(words)})\"", core_code())


@pytest.mark.parametrize("room", [*ROOMS, "tests", "scripts"])
def test_no_module_is_longer_than_allowed(room):
    long = {
        str(path.relative_to(ROOT)): count
        for path in modules(room)
        if (count := line_count([path])) > LONGEST_MODULE
    }
    assert not long


def test_no_function_is_longer_than_allowed():
    long = [
        f"{path.relative_to(ROOT)}: {node.name}"
        for path in modules(*ROOMS)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (node.end_lineno or 0) - node.lineno + 1 > LONGEST_FUNCTION
    ]
    assert not long


@pytest.mark.parametrize(
    "place",
    [
        "abaco/__main__.py",
        "abaco/app.py",
        "abaco/config.py",
        "abaco/errors.py",
        "abaco/domain",
        "abaco/lifecycle",
        "abaco/ports",
        "abaco/operations",
        "backends/registry.py",
        "backends/stores",
        "backends/drivers",
        "handlers/routes.py",
        "handlers/base.py",
        "agents/supervisor.py",
        "tests/unit",
        "tests/contract",
        "tests/http",
        "tests/e2e",
        "tests/faults",
        "tests/benchmarks",
        "tests/support",
        "abaco.conf",
        "setup.cfg",
        "pyproject.toml",
        "README.rst",
        "CHANGELOG.rst",
        "LICENSE",
        ".pre-commit-config.yaml",
        ".ci/run",
    ],
)
def test_the_rooms_are_where_they_belong(place):
    assert (ROOT / place).exists()


def test_only_the_configuration_reads_files_and_environment():
    guilty = []
    for path in modules(*ROOMS):
        text = path.read_text(encoding="utf-8")
        # activate.py is a program of its own: it hands its environment to what it becomes. The SDK
        # is for programs in containers, which are told everything by variables.
        is_sdk = path == ROOT / "abaco/actors.py"
        if not is_sdk and path.name not in ("config.py", "activate.py"):
            guilty += [
                path.name for word in ("configparser", "os.environ", "getenv") if word in text
            ]
    assert not guilty


def test_nothing_is_left_for_later():
    words = ("TO" + "DO", "FIX" + "ME", "NotImplemented" + "Error", "x" + "fail")
    guilty = [
        f"{path.relative_to(ROOT)}: {word}"
        for path in modules(*ROOMS, "tests", "scripts")
        for word in words
        if word in path.read_text(encoding="utf-8")
    ]
    assert not guilty


@pytest.mark.parametrize("legacy", [*MEANINGLESS, *NOT_YET], ids=lambda key: key.key)
def test_the_docs_list_every_key_without_effect(legacy):
    text = (ROOT / "docs" / "configuration.rst").read_text(encoding="utf-8")
    entries = [line for line in text.splitlines() if line.startswith(f"``[{legacy.section}]``")]
    assert any(f"``{legacy.key}``" in line for line in entries)
    assert legacy.reason in text


@pytest.mark.parametrize("old", [*RENAMED, *RENAMED_ENVIRONMENT])
def test_the_docs_list_every_older_name(old):
    text = (ROOT / "docs" / "configuration.rst").read_text(encoding="utf-8")
    spelled = f"``{old}``" if isinstance(old, str) else f"``[{old[0]}] {old[1]}``"
    assert spelled in text


def test_the_programs_the_readme_names_are_there_and_run():
    text = (ROOT / "README.rst").read_text(encoding="utf-8")
    named = set(re.findall(r"(?:scripts|\.ci)/\w+", text))
    assert {"scripts/quickstart", "scripts/test", "scripts/check", ".ci/run"} <= named
    for name in named:
        assert (ROOT / name).stat().st_mode & 0o111, f"{name} cannot be executed"


def test_the_two_commands_stand_on_the_first_screen_of_the_readme():
    screen = (ROOT / "README.rst").read_text(encoding="utf-8").splitlines()[:24]
    assert any(line.strip().startswith("scripts/quickstart") for line in screen)
    assert any(line.strip().startswith("scripts/test") for line in screen)


def test_the_command_line_knows_every_command_the_readme_names():
    from abaco.cli.main import cli

    text = (ROOT / "README.rst").read_text(encoding="utf-8")
    named = set(re.findall(r"^ +abaco ([a-z]+)", text, re.M)) | set(
        re.findall(r"``abaco ([a-z]+)[^`]*``", text)
    )
    assert {"serve", "doctor", "send", "logs"} <= named
    assert named <= set(cli.commands)


@pytest.mark.parametrize("document", sorted(ROOT.glob("*.rst")) + sorted(ROOT.glob("docs/*.rst")))
def test_documents_have_no_overlong_lines_and_no_tabs(document):
    text = document.read_text(encoding="utf-8")
    assert "\t" not in text
    assert [line for line in text.splitlines() if len(line) > 100] == []


@pytest.mark.parametrize(
    "script",
    [
        path
        for folder in ("scripts", ".ci", "samples", *SAMPLES)
        for path in sorted((ROOT / folder).iterdir())
        if path.is_file() and path.read_bytes().startswith(b"#!")
    ],
    ids=lambda path: path.name,
)
def test_scripts_are_valid_shell_and_executable(script):
    shell = "sh" if script.suffix == ".sh" else "bash"
    assert script.stat().st_mode & 0o111
    subprocess.run([shell, "-n", str(script)], check=True, capture_output=True)


def test_import_contracts_cover_every_module_of_the_core():
    setup = configparser.ConfigParser(interpolation=None)
    setup.read(ROOT / "setup.cfg")
    covered = set(setup["importlinter:contract:core"]["source_modules"].split())
    outside = {"abaco.app", "abaco.cli", "abaco.__main__", "abaco.__init__"}
    # for programs elsewhere, with contracts of their own
    for name in ("sdk", "executor"):
        outside |= set(setup[f"importlinter:contract:{name}"]["source_modules"].split())
    present = {
        f"abaco.{path.stem}"
        for path in (ROOT / "abaco").iterdir()
        if path.suffix == ".py" or (path / "__init__.py").exists()
    }
    assert present - outside <= covered
