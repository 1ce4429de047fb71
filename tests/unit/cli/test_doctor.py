"""``abaco doctor``: what it finds, and what it says is to be done."""

import dataclasses
import json
import socket
from collections import namedtuple
from pathlib import Path

import pytest
from click.testing import CliRunner

from abaco.cli import checks
from abaco.cli.findings import Finding, Level
from abaco.cli.main import cli
from abaco.config import (
    EngineSettings,
    GeneralSettings,
    Settings,
    StoreSettings,
    WebSettings,
    WorkersSettings,
)
from abaco.errors import EngineUnavailableError
from abaco.settings import IdentitySettings
from backends.drivers import host
from backends.system import hold_data_dir
from tests.support.accounting import serve_accounting


def settings(tmp_path, **web):
    return Settings(
        general=GeneralSettings(data_dir=tmp_path / "data"),
        engine=EngineSettings(driver="scripted"),
        web=WebSettings(**{"port": 0} | web),
    )


@pytest.fixture
def taken_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


class TestPython:
    def test_this_one_will_do(self, tmp_path):
        (finding,) = checks.check_python(settings(tmp_path))
        assert finding.level is Level.OK

    def test_an_older_one_will_not(self, tmp_path, monkeypatch):
        monkeypatch.setattr(checks.sys, "version_info", (3, 10))
        (finding,) = checks.check_python(settings(tmp_path))
        assert finding.level is Level.ERROR
        assert "3.11" in finding.remedy


class TestStore:
    def test_a_directory_that_can_be_made(self, tmp_path):
        first, _ = checks.check_data_dir(settings(tmp_path))
        assert first.level is Level.OK
        assert "can be made" in first.what
        assert not (tmp_path / "data").exists()

    def test_a_directory_that_is_there(self, tmp_path):
        (tmp_path / "data").mkdir()
        first, _ = checks.check_data_dir(settings(tmp_path))
        assert "can be written" in first.what
        assert list((tmp_path / "data").iterdir()) == []

    def test_a_directory_nobody_may_write(self):
        found = Settings(general=GeneralSettings(data_dir=Path("/proc/sys/abaco")))
        (finding,) = checks.check_data_dir(found)
        assert finding.level is Level.ERROR
        assert "--data-dir" in finding.remedy

    def test_a_database_elsewhere_is_what_counts(self, tmp_path):
        found = Settings(
            general=GeneralSettings(data_dir=tmp_path),
            store=StoreSettings(path=Path("/proc/sys/abaco.db")),
        )
        (finding,) = checks.check_data_dir(found)
        assert finding.level is Level.ERROR

    def test_the_memory_store_is_worth_a_warning(self, tmp_path):
        found = Settings(
            general=GeneralSettings(data_dir=tmp_path), store=StoreSettings(backend="memory")
        )
        assert next(checks.check_data_dir(found)).level is Level.WARNING

    @pytest.mark.parametrize(
        ("free", "level"),
        [
            (checks.LITTLE_SPACE_BYTES, Level.OK),
            (checks.LITTLE_SPACE_BYTES - 1, Level.WARNING),
            (checks.NO_SPACE_BYTES - 1, Level.ERROR),
        ],
    )
    def test_room_on_the_disk(self, tmp_path, monkeypatch, free, level):
        usage = namedtuple("usage", "total used free")
        monkeypatch.setattr(checks.shutil, "disk_usage", lambda path: usage(0, 0, free))
        *_, finding = checks.check_data_dir(settings(tmp_path))
        assert finding.check == "space"
        assert finding.level is level
        assert bool(finding.remedy) is (level is not Level.OK)


class TestPort:
    def test_a_free_one(self, tmp_path):
        (finding,) = checks.check_port(settings(tmp_path))
        assert finding.level is Level.OK

    def test_a_taken_one(self, tmp_path, taken_port):
        (finding,) = checks.check_port(settings(tmp_path, port=taken_port))
        assert finding.level is Level.ERROR
        assert str(taken_port) in finding.what
        assert "--port" in finding.remedy

    def test_one_that_a_server_of_this_data_directory_has(self, tmp_path, taken_port):
        with hold_data_dir(tmp_path / "data"):
            (finding,) = checks.check_port(settings(tmp_path, port=taken_port))
        assert finding.level is Level.OK
        assert "a server runs" in finding.what

    def test_one_that_somebody_else_has_while_no_server_runs(self, tmp_path, taken_port):
        with hold_data_dir(tmp_path / "data"):
            pass
        (finding,) = checks.check_port(settings(tmp_path, port=taken_port))
        assert finding.level is Level.ERROR

    def test_an_address_of_another_machine(self, tmp_path):
        found = settings(tmp_path, address="192.0.2.1", allow_insecure=True)
        (finding,) = checks.check_port(found)
        assert finding.level is Level.ERROR
        assert "cannot listen on 192.0.2.1" in finding.what

    def test_a_name_nobody_knows(self, tmp_path):
        found = settings(tmp_path, address="host.invalid", allow_insecure=True)
        (finding,) = checks.check_port(found)
        assert finding.level is Level.ERROR

    def test_the_sixth_version(self, tmp_path):
        (finding,) = checks.check_port(settings(tmp_path, address="::1"))
        assert "::1" in finding.what


class TestEngine:
    def settings(self, tmp_path, **engine):
        return Settings(
            general=GeneralSettings(data_dir=tmp_path / "data"), engine=EngineSettings(**engine)
        )

    def test_one_that_answers(self, tmp_path):
        (finding,) = checks.check_engine(settings(tmp_path))
        assert finding.level is Level.OK
        assert finding.what.startswith("scripted 1")

    def test_one_that_does_not(self, tmp_path):
        found = self.settings(tmp_path, driver="docker", docker_socket=f"unix://{tmp_path}/no.sock")
        (finding,) = checks.check_engine(found)
        assert finding.level is Level.ERROR
        assert "no.sock" in finding.what
        assert "install Podman" in finding.remedy

    def test_one_this_user_may_not_reach(self, tmp_path, monkeypatch):
        # The tests may run as root, whom no socket refuses.
        async def refuse(settings):
            raise EngineUnavailableError("docker: cannot be reached: Permission denied")

        monkeypatch.setattr(checks, "_probe", refuse)
        (finding,) = checks.check_engine(self.settings(tmp_path, driver="docker"))
        assert finding.level is Level.ERROR
        assert "sudo usermod -aG docker $USER" in finding.remedy
        (finding,) = checks.check_engine(self.settings(tmp_path, driver="podman"))
        assert "podman_socket" in finding.remedy
        assert "usermod" not in finding.remedy

    def test_one_that_hangs(self, tmp_path, monkeypatch):
        monkeypatch.setattr(checks, "_ENGINE_TIMEOUT_S", 0.2)
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(tmp_path / "mute.sock"))
            listener.listen()
            endpoint = f"unix://{tmp_path}/mute.sock"
            (finding,) = checks.check_engine(
                self.settings(tmp_path, driver="docker", docker_socket=endpoint)
            )
        assert finding.level is Level.ERROR
        assert "no answer in time" in finding.what

    def test_none_at_all(self, tmp_path, monkeypatch):
        bare = dataclasses.replace(host.look(), programs={})
        monkeypatch.setattr("backends.drivers.auto.look", lambda: bare)
        nowhere = f"unix://{tmp_path}/no.sock"
        found = self.settings(tmp_path, docker_socket=nowhere, podman_socket=nowhere)
        (finding,) = checks.check_engine(found)
        assert finding.level is Level.ERROR
        assert "no container engine" in finding.what

    @pytest.mark.parametrize("choice", ["docker", "podman", "embedded podman"])
    def test_every_choice_has_its_reason(self, choice):
        reason = checks._WHY[choice].format(engine=EngineSettings())
        assert "/var/run/docker.sock" in reason or "podman.sock" in reason


class TestReach:
    """Whether containers can call the server."""

    def find(self, tmp_path, network="bridge", **web):
        found = settings(tmp_path, **web)
        engine = found.engine.model_copy(update={"network": network})
        (finding,) = checks.check_reach(found.model_copy(update={"engine": engine}))
        return finding

    def test_not_by_default(self, tmp_path):
        finding = self.find(tmp_path)
        assert finding.level is Level.WARNING
        assert "containers cannot call the API" in finding.what
        assert "stateful actors cannot write their state" in finding.what
        assert "[engine] network: host" in finding.remedy

    def test_in_the_network_of_the_host(self, tmp_path):
        assert self.find(tmp_path, network="host").level is Level.OK

    def test_without_any_network(self, tmp_path):
        finding = self.find(
            tmp_path, "none", address="0.0.0.0", allow_insecure=True, default_api_server="http://h"
        )
        assert finding.level is Level.WARNING
        assert "network is none" in finding.what

    @pytest.mark.parametrize(
        "url", ["http://127.0.0.1:8000", "http://localhost:1", "http://[::1]:8000"]
    )
    def test_when_they_are_told_to_call_themselves(self, tmp_path, url):
        finding = self.find(
            tmp_path, address="0.0.0.0", allow_insecure=True, default_api_server=url
        )
        assert finding.level is Level.WARNING
        assert url in finding.what
        assert "default_api_server" in finding.remedy

    def test_under_an_address_of_its_own(self, tmp_path):
        finding = self.find(
            tmp_path,
            address="172.17.0.1",
            allow_insecure=True,
            default_api_server="http://172.17.0.1:8000",
        )
        assert finding.level is Level.OK


class TestHost:
    def test_findings_of_the_drivers_are_passed_on(self, tmp_path):
        ours = [(f.level.value, f.what, f.remedy) for f in checks.check_host(settings(tmp_path))]
        assert ours == [(f.level.value, f.what, f.remedy) for f in host.findings()]


class TestCommand:
    @pytest.fixture
    def run(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        base = ["doctor", "--data-dir", str(tmp_path / "data"), "--driver", "scripted"]
        return lambda *arguments: CliRunner().invoke(cli, [*base, *arguments])

    def test_a_machine_that_can_work(self, run):
        result = run("--port", "0")
        assert result.exit_code == 0, result.output
        assert "the server can work here" in result.stderr
        assert "engine\tscripted" in result.stdout

    def test_something_to_repair(self, run, taken_port):
        result = run("--port", str(taken_port))
        assert result.exit_code == 1
        assert f"error\tport\tcannot listen on 127.0.0.1 port {taken_port}" in result.stdout
        assert "stop what listens there" in result.stdout

    def test_json(self, run, taken_port):
        result = run("--port", str(taken_port), "--json")
        assert result.exit_code == 1
        assert result.stderr == ""
        findings = {item["check"]: item for item in json.loads(result.stdout)}
        assert {"python", "store", "space", "port", "engine"} <= set(findings)
        assert findings["port"]["level"] == "error"
        assert findings["port"]["remedy"]

    def test_a_wrong_configuration_is_a_finding(self, run):
        result = run("--port", "high")
        assert result.exit_code == 1
        assert "[web] port" in result.stdout
        assert "abaco init" in result.stdout

    def test_every_fault_is_a_finding_of_its_own(self, run, tmp_path):
        (tmp_path / "abaco.conf").write_text("[web]\ncase: kebab\n")
        result = run("--port", "high", "--json")
        found = json.loads(result.stdout)
        assert {item["what"].split("] ")[1].split(":")[0] for item in found} == {"case", "port"}
        assert len(found) == 2

    def test_it_leaves_nothing_behind(self, run, tmp_path):
        run("--port", "0")
        assert list(tmp_path.iterdir()) == []

    def test_a_warning_alone_is_no_failure(self, run, monkeypatch):
        warning = Finding(check="host", level=Level.WARNING, what="odd", remedy="see to it")
        monkeypatch.setattr(checks, "CHECKS", (lambda settings: iter([warning]),))
        result = run()
        assert result.exit_code == 0
        assert "warning\thost\todd\tsee to it" in result.stdout


class TestMounts:
    def mounts(self, tmp_path, **workers):
        found = settings(tmp_path).model_copy(update={"workers": WorkersSettings(**workers)})
        return list(checks.check_mounts(found))

    def test_none(self, tmp_path):
        assert self.mounts(tmp_path) == []

    def test_what_is_there(self, tmp_path):
        work = tmp_path / "work"
        work.mkdir()
        text = f"{work}:/x:ro, {work}/{{username}}:/y:rw, {{tasdir}}:/z:rw"
        found = self.mounts(tmp_path, global_mounts=text, dev_global_mounts=f"{work}:/d:ro")
        assert [finding.level for finding in found] == [Level.OK] * 4
        assert f"{work}/{{username}} at /y (rw)" in found[1].what

    @pytest.mark.parametrize("key", ["global_mounts", "dev_global_mounts", "privileged_mounts"])
    def test_what_is_not(self, tmp_path, key):
        (finding,) = self.mounts(tmp_path, **{key: f"{tmp_path}/no/{{username}}:/x:ro"})
        assert finding.level is Level.ERROR
        assert f"{tmp_path}/no is not there" in finding.what
        assert finding.remedy

    def test_our_own_files_are_for_privileged_actors(self, tmp_path):
        (tmp_path / "data").mkdir()
        text = f"{tmp_path}/data:/x:ro"
        (finding,) = self.mounts(tmp_path, global_mounts=text)
        assert finding.level is Level.ERROR
        assert "would give actors" in finding.what
        (finding,) = self.mounts(tmp_path, privileged_mounts=text)
        assert finding.level is Level.OK


class TestUsers:
    def users(self, tmp_path, workers, **identity):
        update = {
            "workers": WorkersSettings(**workers),
            "identity": IdentitySettings(**identity),
        }
        return list(checks.check_users(settings(tmp_path).model_copy(update=update)))

    def test_nobody_is_asked(self, tmp_path):
        assert self.users(tmp_path, {}) == []
        assert self.users(tmp_path, {"actor_uid": 5, "actor_gid": 5}) == []

    def test_the_hosts_database(self, tmp_path):
        (finding,) = self.users(tmp_path, {"identity_provider": "system"})
        assert finding.level is Level.OK
        assert "user database" in finding.what

    def test_a_service_that_answers_and_one_that_does_not(self, tmp_path):
        with serve_accounting() as service:
            identity = {"url": service.url, "username": "abaco", "password": "hunter2"}
            (finding,) = self.users(tmp_path, {"use_tas_uid": True}, **identity)
            assert finding.level is Level.OK
            (finding,) = self.users(
                tmp_path, {"use_tas_uid": True}, **identity | {"password": "opensesame"}
            )
        assert finding.level is Level.ERROR
        assert "opensesame" not in f"{finding}"

    def test_a_password_file_that_is_not_there(self, tmp_path):
        (finding,) = self.users(
            tmp_path,
            {"use_tas_uid": True},
            url="http://127.0.0.1:1",
            password_file=tmp_path / "no",
        )
        assert finding.level is Level.ERROR
        assert "identity.password_file" in finding.what

    @pytest.mark.parametrize(
        ("workers", "is_warned"),
        [
            ({"global_mounts": "/d:/d:rw"}, True),
            ({"global_mounts": "/d:/d:ro"}, False),
            ({"global_mounts": "/d:/d:rw", "actor_uid": 5, "actor_gid": 5}, False),
            ({"dev_global_mounts": "/d:/d:rw"}, True),
            ({"dev_global_mounts": "/d:/d:rw", "dev_actor_uid": 5, "dev_actor_gid": 5}, False),
            ({"global_mounts": "/d:/d:rw", "dev_actor_uid": 5, "dev_actor_gid": 5}, True),
            ({"global_mounts": "/d:/d:rw", "identity_provider": "system"}, False),
        ],
    )
    def test_mounts_that_root_may_write(self, tmp_path, workers, is_warned):
        levels = [finding.level for finding in self.users(tmp_path, workers)]
        assert (Level.WARNING in levels) is is_warned
