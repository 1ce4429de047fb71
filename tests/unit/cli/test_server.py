"""``abaco serve`` up to the start, and ``abaco init``."""

import os
import signal
import subprocess
import sys

import pytest
from click.testing import CliRunner

from abaco.cli.main import cli
from abaco.config import load
from abaco.config_text import render
from tests.support.server import free_port


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: CliRunner().invoke(cli, arguments)


class TestShowConfig:
    def test_flags_and_files_are_named_as_origin(self, run, tmp_path):
        (tmp_path / "my.conf").write_text("[web]\ncase: camel\n[rabbit]\nuri: amqp://u:hunter2@r\n")
        result = run("serve", "--config", "my.conf", "--port", "81", "--show-config")
        assert result.exit_code == 0
        rows = dict(line.split("\t", 1) for line in result.stdout.splitlines())
        assert rows["[web] port"] == "81\t--port"
        assert rows["[web] case"] == "camel\tmy.conf"
        assert rows["[web] address"] == "127.0.0.1\tdefault"
        assert rows["[rabbit] uri"].startswith("(hidden)\tmy.conf; no effect")
        assert "hunter2" not in result.output

    def test_the_file_that_was_read_is_named(self, run):
        assert "built-in defaults" in run("serve", "--show-config").stderr

    def test_every_server_option_is_a_setting(self, run):
        flags = ["--address", "::1", "--port", "1", "--data-dir", "/x", "--driver", "podman"]
        result = run("serve", *flags, "--show-config")
        for row in (
            "[web] address\t::1\t--address",
            "[general] data_dir\t/x\t--data-dir",
            "[engine] driver\tpodman\t--driver",
        ):
            assert row in result.stdout


class TestMistakes:
    def test_a_wrong_configuration_ends_with_2_and_all_faults(self, run, tmp_path):
        (tmp_path / "abaco.conf").write_text("[web]\nprot: 1\n")
        result = run("serve", "--port", "high")
        assert result.exit_code == 2
        assert "abaco.conf: [web] prot: unknown key; did you mean 'port'?" in result.stderr
        assert "--port: [web] port: 'high' is not allowed" in result.stderr

    def test_several_faults_are_a_line_each(self, run, tmp_path):
        (tmp_path / "abaco.conf").write_text("[wep]\nport: 1\n[web]\nprot: 1\n")
        lines = run("serve", "--port", "high").stderr.splitlines()
        assert lines[0] == "Error: 3 faults in the configuration:"
        assert [line.split(": ")[1] for line in lines[1:]] == ["[wep]", "[web] prot", "[web] port"]
        assert all(line.startswith("  ") for line in lines[1:])

    def test_a_broken_line_is_one_line_with_its_number(self, run, tmp_path):
        (tmp_path / "abaco.conf").write_text("[web]\nport\n")
        result = run("serve")
        assert result.exit_code == 2
        assert result.stderr == "Error: abaco.conf line 2: 'port' is not `key: value`\n"

    def test_a_missing_file(self, run):
        result = run("serve", "--config", "no.conf")
        assert result.exit_code == 2
        assert "no.conf" in result.stderr


class TestInit:
    def test_it_writes_the_commented_file(self, run, tmp_path):
        result = run("init")
        assert result.exit_code == 0
        assert (tmp_path / "abaco.conf").read_text() == render()
        assert load(tmp_path / "abaco.conf", environment={}).origins == {}

    def test_it_never_replaces_a_file_unasked(self, run, tmp_path):
        path = tmp_path / "mine.conf"
        path.write_text("[web]\n")
        result = run("init", str(path))
        assert result.exit_code == 1
        assert "--force" in result.stderr
        assert path.read_text() == "[web]\n"

    def test_force_replaces(self, run, tmp_path):
        path = tmp_path / "mine.conf"
        path.write_text("[web]\n")
        assert run("init", str(path), "--force").exit_code == 0
        assert path.read_text() == render()

    @pytest.mark.parametrize("flags", [[], ["--force"]])
    def test_a_directory_is_told_apart_from_a_file(self, run, tmp_path, flags):
        (tmp_path / "place").mkdir()
        result = run("init", "place", *flags)
        assert result.exit_code == 1
        assert "place is a directory; name a file in it: `abaco init place/abaco.conf`" in (
            result.stderr
        )
        assert "--force" not in result.stderr
        assert list((tmp_path / "place").iterdir()) == []

    def test_where_nothing_can_be_written(self, run):
        result = run("init", "/proc/abaco.conf")
        assert result.exit_code == 1
        assert "cannot be written" in result.stderr


class TestHelp:
    def test_every_command_has_help_of_its_own(self, run):
        paths = [(name,) for name in cli.commands]
        for group in ("actors", "state"):
            paths += [(group, name) for name in cli.commands[group].commands]
        for path in paths:
            result = run(*path, "--help")
            assert result.exit_code == 0
            assert len(result.stdout.splitlines()) > 5, path

    def test_the_first_page_shows_the_first_minute(self, run):
        text = run("--help").stdout
        for line in ("abaco doctor", "abaco serve", "abaco actors create", "abaco send"):
            assert line in text

    def test_python_m_abaco_is_the_same_program(self):
        result = subprocess.run(
            [sys.executable, "-m", "abaco", "--version"], capture_output=True, text=True, check=True
        )
        assert result.stdout.startswith("abaco, version")


class TestRunning:
    """The whole server as a process, with the memory store and the scripted engine."""

    @pytest.fixture
    def port(self):
        return free_port()

    @pytest.fixture
    def server(self, tmp_path, port):
        conf = tmp_path / "server.conf"
        conf.write_text("[store]\nbackend: memory\n[rabbit]\nuri: amqp://u:hunter2@r\n")
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "abaco", "serve", "--driver", "scripted"),
                *("--config", conf, "--port", str(port), "--data-dir", tmp_path / "data"),
            ],
            cwd=tmp_path,
            stderr=subprocess.PIPE,
            text=True,
            env={name: value for name, value in os.environ.items() if "__" not in name},
        )
        assert process.stderr is not None
        lines = []
        for line in process.stderr:
            lines.append(line)
            if "listening" in line:
                break
        process.first_lines = lines
        yield process
        process.terminate()
        process.communicate(timeout=30)

    def client(self, port, *arguments):
        return CliRunner(env={"ABACO_URL": f"http://127.0.0.1:{port}"}).invoke(cli, arguments)

    def test_from_registration_to_the_log_and_the_end(self, server, port):
        created = self.client(port, "actors", "create", "abaco/x", "--name", "x", "--wait")
        assert created.exit_code == 0, created.output
        sent = self.client(port, "send", "x", "How are you?", "--wait", "--exit-code")
        assert sent.exit_code == 0, sent.output
        assert "Contents of MSG: How are you?" in sent.stdout
        assert "COMPLETE, exit code 0" in sent.stderr
        assert self.client(port, "logs", "x").stdout == sent.stdout
        assert "COMPLETE" in self.client(port, "executions", "x").stdout
        assert "READY" in self.client(port, "workers", "x").stdout
        assert self.client(port, "actors", "delete", "x").exit_code == 0
        assert self.client(port, "actors", "show", "x").exit_code == 1

    def test_state_goes_there_and_back(self, server, port):
        self.client(port, "actors", "create", "abaco/x", "--name", "x", "--stateful")
        written = self.client(port, "state", "set", "x", '{"n": [1, "é"]}')
        assert written.exit_code == 0, written.output
        assert '"é"' in self.client(port, "state", "get", "x").stdout

    def test_an_update_keeps_what_is_not_named(self, server, port):
        create = ("actors", "create", "abaco/x", "--name", "x", "-e", "A=1", "--description", "d")
        self.client(port, *create)
        changed = self.client(port, "actors", "update", "x", "--image", "abaco/y")
        assert changed.exit_code == 0, changed.output
        shown = self.client(port, "actors", "show", "x").stdout
        for line in ("image\tabaco/y", "revision\t2", "description\td", '{"A": "1"}'):
            assert line in shown

    def test_an_image_that_is_not_there_is_told(self, server, port):
        created = self.client(port, "actors", "create", "abaco/missing", "--wait")
        assert created.exit_code == 1
        assert "is ERROR" in created.stderr
        assert "abaco/missing" in created.stderr

    def test_sigterm_ends_it_well(self, server):
        server.send_signal(signal.SIGTERM)
        assert server.wait(timeout=10) == 0

    def test_older_keys_are_named_once_and_hidden(self, server):
        server.send_signal(signal.SIGTERM)
        text = "".join(server.first_lines) + server.stderr.read()
        assert text.count("[rabbit] uri") == 1
        assert "hunter2" not in text

    def test_a_second_server_at_the_same_place_says_what_is_wrong(self, server, port, tmp_path):
        result = subprocess.run(
            [sys.executable, "-m", "abaco", "serve", "--driver", "scripted", "--port", str(port)],
            cwd=tmp_path,
            env=os.environ | {"store_backend": "memory"},
            capture_output=True,
            text=True,
            check=False,
            timeout=20,
        )
        assert result.returncode == 2
        assert str(port) in result.stderr
        assert "Traceback" not in result.stderr
