"""The scripts, as far as they go without installing anything or starting an engine."""

import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def run(*command, cwd=None, **environment):
    return subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )


class TestFreePort:
    def ask(self, wanted):
        return int(run(sys.executable, ROOT / "scripts/free_port.py", wanted).stdout)

    def test_the_wanted_one_when_it_is_free(self):
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            port = unused.getsockname()[1]
        assert self.ask(port) == port

    def test_another_when_it_is_taken(self):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
            assert self.ask(port) not in (port, 0)


@pytest.fixture
def tools(tmp_path):
    """Return a directory for programs of our own that come first in the search path."""
    directory = tmp_path / "tools"
    directory.mkdir()

    def add(name: str, body: str) -> str:
        program = directory / name
        program.write_text(f"#!/bin/sh\n{body}\n")
        program.chmod(0o755)
        return f"{directory}:{os.environ['PATH']}"

    return add


@pytest.fixture
def copy(tools, tmp_path):
    """Return a directory with a copy of the scripts and samples, which use the ``tools``."""
    for folder in ("scripts", "samples"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    (tmp_path / "tmp").mkdir()
    (tmp_path / "tools/python").symlink_to(sys.executable)
    (tmp_path / "scripts/venv").write_text(f"#!/bin/sh\necho {tmp_path / 'tools'}\n")
    return tmp_path


class TestPackages:
    def test_nothing_to_do_when_everything_is_there(self, tools):
        path = tools("dpkg-query", "echo install ok installed")
        tools("apt-get", "echo called >&2; exit 1")
        result = run(ROOT / "scripts/packages", "one", "two", PATH=path)
        assert (result.returncode, result.stderr) == (0, "")

    def test_without_root_it_says_what_to_install(self, tools):
        path = tools("dpkg-query", "exit 1")
        tools("apt-get", "exit 1")
        tools("id", "echo 1000")
        result = run(ROOT / "scripts/packages", "podman", "runc", PATH=path)
        assert result.returncode == 1
        assert "apt-get install podman runc" in result.stderr

    def test_lists_are_fetched_only_when_needed(self, tools, tmp_path):
        calls = tmp_path / "calls"
        path = tools("dpkg-query", "exit 1")
        tools("id", "echo 0")
        tools("apt-get", f'echo "$1" >> {calls}; [ "$1" = update ] || [ -e {tmp_path}/updated ]')
        result = run(ROOT / "scripts/packages", "x", PATH=path)
        assert result.returncode == 1
        assert calls.read_text().split() == ["install", "update", "install"]
        calls.unlink()
        (tmp_path / "updated").touch()
        assert run(ROOT / "scripts/packages", "x", PATH=path).returncode == 0
        assert calls.read_text().split() == ["install"]

    def test_what_apt_said_is_shown_when_it_fails(self, tools):
        path = tools("dpkg-query", "exit 1")
        tools("id", "echo 0")
        tools("apt-get", "echo no room left; exit 1")
        result = run(ROOT / "scripts/packages", "x", PATH=path)
        assert "no room left" in result.stderr


class TestVenv:
    def test_an_installed_one_is_left_alone(self, tmp_path):
        bin_ = tmp_path / "venv" / "bin"
        bin_.mkdir(parents=True)
        (bin_ / "python").write_text("#!/bin/sh\nexit 1\n")
        (bin_ / "python").chmod(0o755)
        setup = (ROOT / "setup.cfg").read_bytes() + (ROOT / "pyproject.toml").read_bytes()
        stamp = subprocess.run(["cksum"], input=setup, capture_output=True, check=True).stdout
        (tmp_path / "venv" / ".installed-core").write_bytes(stamp)
        result = run(ROOT / "scripts/venv", ABACO_VENV=str(tmp_path / "venv"), cwd=tmp_path)
        assert result.returncode == 0, result.stderr
        assert result.stdout.strip() == str(bin_)

    def test_an_installation_that_fails_is_tried_again_next_time(self, tmp_path):
        bin_ = tmp_path / "venv" / "bin"
        bin_.mkdir(parents=True)
        (bin_ / "python").write_text("#!/bin/sh\nexit 1\n")
        (bin_ / "python").chmod(0o755)
        for _ in range(2):
            result = run(ROOT / "scripts/venv", ABACO_VENV=str(tmp_path / "venv"))
            assert result.returncode == 1
            assert "installing" in result.stderr
            assert not (tmp_path / "venv" / ".installed-core").exists()


def test_quickstart_explains_itself_when_misused():
    result = run(ROOT / "scripts/quickstart", "--nonsense")
    assert result.returncode == 2
    assert "unknown: --nonsense" in result.stderr
    for option in ("--yes", "--keep", "--driver"):
        assert option in result.stderr


@pytest.mark.parametrize("option", ["--help", "-h"])
@pytest.mark.parametrize(("script", "word"), [("quickstart", "--keep"), ("bench", "bench_store")])
def test_help_is_an_answer_and_no_mistake(script, word, option):
    result = run(ROOT / "scripts" / script, option)
    assert (result.returncode, result.stderr) == (0, "")
    assert f"scripts/{script}" in result.stdout
    assert word in result.stdout
    assert "#" not in result.stdout


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--driver", "foo"], "--driver takes docker or podman, not foo"),
        (["--driver"], "--driver takes docker or podman"),
    ],
)
def test_quickstart_names_the_drivers_there_are(arguments, text):
    result = run(ROOT / "scripts/quickstart", *arguments)
    assert result.returncode == 2
    assert result.stderr == f"{text}\n"


def test_bench_names_the_benchmarks_there_are():
    result = run(ROOT / "scripts/bench", "bench_nothing")
    assert result.returncode == 2
    assert "unknown: bench_nothing" in result.stderr
    assert "bench_driver" in result.stderr


class TestQuickstart:
    """The whole of it, with a server whose engine is a program that does what it is told."""

    @pytest.fixture
    def quickstart(self, tools, copy):
        """Run it with a server and commands that only say what was asked."""
        tools("abaco", '[ "$1" != serve ] || exec sleep 60; echo "did: $*"')
        tools("busybox", "exit 0")
        path = tools("docker", '[ "$1" != import ] || cat >/dev/null; echo docker version 1')
        return lambda *options, search_path=path: run(
            copy / "scripts/quickstart",
            *("--driver", "docker", *options),
            PATH=search_path,
            TMPDIR=str(copy / "tmp"),
        )

    def test_nothing_stays_unless_asked(self, quickstart, tmp_path):
        result = quickstart()
        assert result.returncode == 0, result.stderr
        assert "scripts/quickstart --keep" in result.stdout
        assert "data are removed" in result.stdout
        assert list((tmp_path / "tmp").iterdir()) == []

    def test_what_is_kept_is_named(self, quickstart, tmp_path):
        result = quickstart("--keep")
        assert result.returncode == 0, result.stderr
        server = int(result.stdout.split("stop it with:    kill ")[1].split()[0])
        os.kill(server, signal.SIGKILL)
        (data,) = (tmp_path / "tmp").iterdir()
        assert f"its data and its log stay in {data}" in result.stdout
        assert "scripts/quickstart --keep" not in result.stdout
        assert "start it again:" in result.stdout

    def test_docker_by_name_is_not_replaced_by_another(self, quickstart, tmp_path):
        few = tmp_path / "few"  # whatever engine this machine has, it is not among these
        few.mkdir()
        for name in ("bash", "env", "readlink", "dirname"):
            (few / name).symlink_to(str(shutil.which(name)))
        (tmp_path / "tools/docker").unlink()
        result = quickstart(search_path=f"{tmp_path / 'tools'}:{few}")
        assert result.returncode == 1
        assert "Docker is not here" in result.stderr


class TestSampleImage:
    """The build, with a program in the engine's place that keeps what it is given."""

    @pytest.fixture
    def build(self, tools, tmp_path):
        path = tools(
            "busybox", "exit 0"
        )  # a script is no dynamic executable, so it counts as static
        tools(
            "engine",
            f'echo "$@" >> {tmp_path}/calls; if [ "$1" = import ]; then cat > {tmp_path}/image.tar;'
            f" else cat {tmp_path}/label 2>/dev/null; fi",
        )
        return lambda: run(ROOT / "samples/hello/build", "engine", "test/hello", PATH=path)

    def test_it_imports_a_root_with_the_actor_in_it(self, build, tmp_path):
        result = build()
        assert result.returncode == 0, result.stderr
        listing = run("tar", "-tf", tmp_path / "image.tar").stdout.split()
        assert {"./hello", "./bin/sh", "./bin/busybox", "./tmp/"} <= set(listing)
        last_call = (tmp_path / "calls").read_text().splitlines()[-1]
        assert 'CMD ["/hello"]' in last_call
        assert last_call.endswith("- test/hello:latest")

    def test_it_builds_only_what_has_changed(self, build, tmp_path):
        build()
        call = (tmp_path / "calls").read_text().splitlines()[-1]
        label = call.split("abaco.sample=")[1].split()[0]
        (tmp_path / "label").write_text(label)
        (tmp_path / "calls").unlink()
        assert build().returncode == 0
        assert "import" not in (tmp_path / "calls").read_text()

    @pytest.mark.parametrize("sample", ["hello", "counter"])
    def test_every_sample_is_built_the_same_way(self, tools, tmp_path, sample):
        tools("busybox", "exit 0")
        path = tools("engine", f'[ "$1" != import ] || {{ echo "$@" > {tmp_path}/call; cat >&2; }}')
        result = run(ROOT / "samples" / sample / "build", "engine", PATH=path)
        assert result.returncode == 0, result.stderr
        call = (tmp_path / "call").read_text()
        assert f'CMD ["/{sample}"]' in call
        assert f"- abaco/{sample}:latest" in call

    def test_one_in_python_has_python_and_the_sdk(self, tools, tmp_path):
        tools("busybox", "exit 0")
        image = tmp_path / "image.tar"
        path = tools(
            "engine",
            f'[ "$1" != import ] || {{ echo "$@" > {tmp_path}/call; cat > {image}; }}',
        )
        build = ROOT / "samples/executor/build"
        result = run(build, "engine", PATH=path, ABACO_PYTHON=sys.executable)
        assert result.returncode == 0, result.stderr
        call = (tmp_path / "call").read_text()
        assert 'CMD ["/py/bin/python3", "/app/executor.py"]' in call
        listing = set(run("tar", "-tf", image).stdout.split())
        assert {"app/executor.py", "app/actors.py", "app/calls.py", "py/bin/python3"} <= listing
        assert any(name.endswith("/cloudpickle/__init__.py") for name in listing)
        # nothing of this host but Python
        assert not any("pytest" in name for name in listing)

    @pytest.mark.parametrize("arguments", [[], ["hello"], ["nothing", "docker"]])
    def test_wrong_usage_is_told(self, arguments):
        result = run(ROOT / "samples/build", *arguments)
        assert result.returncode == 2
        assert "samples/build SAMPLE docker|podman" in result.stderr

    def test_scripts_of_samples_are_valid_and_executable(self):
        for script in (ROOT / "samples").rglob("*"):
            if script.is_file() and script.read_bytes().startswith(b"#!"):
                assert script.stat().st_mode & 0o111, script
                run("sh" if script.suffix == ".sh" else "bash", "-n", script)

    def test_the_actor_answers_its_message(self):
        environment = {"MSG": "hi there", "_abaco_execution_id": "e1", "_abaco_actor_id": "a1"}
        result = run("sh", ROOT / "samples/hello/hello.sh", **environment)
        assert result.returncode == 0
        assert "You said: hi there" in result.stdout
        assert "execution e1 of actor a1" in result.stdout


class TestSampleRun:
    """``samples/run``, with a server and commands that only say what was asked."""

    @pytest.fixture
    def show(self, tools, copy):
        said = copy / "said"
        tools(
            "abaco",
            f'[ "$1 $2" != "actors list" ] || grep -q network {said} || exit 1\n'
            f'echo "did: $*" | tee -a {said}\n'
            f'case $1 in serve) cat "$3" >> {said}; exec sleep 60 ;; esac',
        )
        tools("busybox", "exit 0")
        path = tools("docker", '[ "$1" != import ] || cat >/dev/null')
        return lambda *words, **environment: run(
            copy / "samples/run",
            *words,
            **{"PATH": path, "TMPDIR": str(copy / "tmp"), "ABACO_URL": "", **environment},
        )

    def test_a_server_is_started_that_containers_reach_and_nothing_stays(self, show, tmp_path):
        result = show("hello", "docker")
        assert result.returncode == 0, result.stderr
        assert "did: send hello How are you? --wait --exit-code" in result.stdout
        said = (tmp_path / "said").read_text()
        assert "did: serve --config" in said
        assert "network: host" in said
        assert list((tmp_path / "tmp").iterdir()) == []

    def test_a_server_that_is_there_is_used(self, show, tmp_path):
        result = show("hello", "docker", ABACO_URL="http://127.0.0.1:1")
        assert result.returncode == 0, result.stderr
        assert "did: serve" not in (tmp_path / "said").read_text()

    def test_a_demo_that_fails_fails(self, show, tmp_path):
        (tmp_path / "samples/hello/demo").write_text("#!/bin/sh\nexit 4\n")
        result = show("hello", "docker")
        assert result.returncode == 4
        assert list((tmp_path / "tmp").iterdir()) == []
