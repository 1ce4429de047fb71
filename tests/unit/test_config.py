"""Loading the configuration: places, order of weight, and what is said about mistakes."""

import base64
import os
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from abaco import config
from abaco.config import Configuration, load
from abaco.errors import ConfigError


def der_text(key) -> str:
    der = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return base64.b64encode(der).decode()


@pytest.fixture(scope="module")
def public_key() -> str:
    return der_text(rsa.generate_private_key(65537, 2048))


@pytest.fixture
def write(tmp_path):
    def write_file(text: str, name: str = "abaco.conf") -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    return write_file


@pytest.fixture
def read(write):
    def read_text(text: str, environment=None, **flags) -> Configuration:
        places = {tuple(name.split("__")): value for name, value in flags.items()}
        return load(write(text), environment=environment or {}, flags=places)

    return read_text


def fault(call, *args, **kwargs) -> str:
    with pytest.raises(ConfigError) as caught:
        call(*args, **kwargs)
    return caught.value.message


class TestPlaces:
    @pytest.fixture(autouse=True)
    def _no_system_file(self, tmp_path, monkeypatch):
        monkeypatch.setattr(config, "_SYSTEM_FILE", tmp_path / "etc" / "abaco.conf")

    def test_without_any_file_the_defaults_hold(self, tmp_path):
        found = load(environment={}, directory=tmp_path)
        assert found.path is None
        assert found.settings.web.port == 8000
        assert found.origins == {}

    def test_each_place_yields_to_the_one_before(self, tmp_path, write):
        last_to_first = [
            write("[web]\nport: 5", "etc/abaco.conf"),
            write("[web]\nport: 4", "here/abaco.conf"),
            write("[web]\nport: 3", "base/abaco.conf"),
            write("[web]\nport: 2", "named.conf"),
            write("[web]\nport: 1", "flag.conf"),
        ]
        environment = {"abaco_path": str(tmp_path / "base")}
        environment["abaco_conf_host_path"] = str(tmp_path / "named.conf")
        here = tmp_path / "here"
        for place in reversed(last_to_first):
            flag = place if place.name == "flag.conf" else None
            found = load(flag, environment=environment, directory=here)
            assert found.path == place
            place.unlink()
            if place.name == "named.conf":
                del environment["abaco_conf_host_path"]

    def test_a_file_named_by_flag_must_exist(self, tmp_path):
        text = fault(load, tmp_path / "no.conf", environment={})
        assert "--config" in text
        assert "no.conf" in text
        assert "abaco init" in text

    def test_a_file_named_by_environment_must_exist(self, tmp_path):
        environment = {"abaco_conf_host_path": str(tmp_path / "no.conf")}
        text = fault(load, environment=environment, directory=tmp_path)
        assert "$abaco_conf_host_path" in text

    def test_a_directory_is_no_file(self, tmp_path):
        assert "no file" in fault(load, tmp_path, environment={})

    def test_an_empty_abaco_path_is_passed_over(self, tmp_path):
        assert load(environment={"abaco_path": str(tmp_path)}, directory=tmp_path).path is None


class TestFile:
    def test_colon_and_equals_mean_the_same(self, read):
        found = read("[web]\nport = 81\ncase: camel\n").settings
        assert (found.web.port, found.web.case) == (81, "camel")

    def test_keys_in_any_letter_case(self, read):
        assert read("[general]\nTAG: 1.9\n").settings.general.tag == "1.9"

    def test_there_is_no_interpolation(self, read):
        assert read("[web]\nid_salt: 50%(x)s ${y} %\n").settings.web.id_salt == "50%(x)s ${y} %"

    def test_a_value_may_hold_both_delimiters(self, read):
        text = "[web]\ndefault_api_server: http://a:1/?b=c\n"
        assert read(text).settings.web.default_api_server == "http://a:1/?b=c"

    def test_comments_are_passed_over(self, read):
        assert read("# a\n; b\n[web]\n# port: 1\n").settings.web.port == 8000

    def test_empty_means_not_set_where_that_is_allowed(self, read):
        assert read("[logs]\nfile:\n").settings.logs.file is None

    def test_empty_is_refused_where_it_is_not(self, read):
        assert "[web] port: '' is not allowed" in fault(read, "[web]\nport:\n")

    def test_words_match_in_any_letter_case(self, read):
        assert read("[logs]\nlevel: debug\n").settings.logs.level == "DEBUG"

    def test_a_tilde_is_the_home_directory(self, read):
        found = read("[general]\ndata_dir: ~/abaco\n").settings
        assert found.general.data_dir == Path.home() / "abaco"

    @pytest.mark.parametrize(
        ("text", "value"),
        [(word, True) for word in ("true", "True", "YES", "on", "1")]
        + [(word, False) for word in ("false", "FALSE", "no", "Off", "0")],
    )
    def test_every_boolean_spelling(self, read, text, value):
        found = read(f"[workers]\nleave_containers: {text}\n").settings
        assert found.workers.leave_containers is value

    @pytest.mark.parametrize(
        ("text", "words"),
        [
            ("port: 1\n", "abaco.conf"),
            ("[web]\nport: 1\nport: 2\n", "port"),
            ("[web]\nthis is no key\n", "this is no key"),
        ],
    )
    def test_a_file_that_cannot_be_parsed_is_named_with_its_line(self, read, text, words):
        assert words in fault(read, text)

    def test_a_file_that_is_no_text(self, tmp_path):
        path = tmp_path / "binary.conf"
        path.write_bytes(b"[web]\n\xff\xfe: 1\n")
        text = fault(load, path, environment={})
        assert "UTF-8" in text
        assert str(path) in text

    def test_a_file_that_cannot_be_read(self, tmp_path):
        text = fault(load, Path("/proc/self/mem"), environment={})
        assert "cannot be read" in text


class TestWeight:
    def test_environment_beats_file_and_flag_beats_environment(self, read):
        text = "[web]\nport: 1\ncase: camel\ntenant_name: A\n"
        environment = {"web_port": "2", "web_case": "snake"}
        found = read(text, environment, web__port="3")
        assert found.settings.web.port == 3
        assert found.settings.web.case == "snake"
        assert found.settings.web.tenant_name == "A"
        assert found.origins["web", "port"] == "--port"
        assert found.origins["web", "case"] == "environment variable web_case"
        assert found.origins["web", "tenant_name"].endswith("abaco.conf")

    def test_a_flag_that_was_not_given_changes_nothing(self, read):
        assert read("[web]\nport: 5\n", web__port=None).settings.web.port == 5

    @pytest.mark.parametrize("name", ["ABACO__WEB__CASE", "ABACO__web__case", "web_case"])
    def test_both_forms_of_environment_names(self, read, name):
        assert read("", {name: "camel"}).settings.web.case == "camel"

    def test_a_key_with_underscores_in_an_environment_name(self, read):
        environment = {"workers_max_run_time": "7", "ABACO__WEB__LOG_EX": "8"}
        found = read("", environment).settings
        assert (found.workers.max_run_time, found.web.log_ex) == (7, 8)

    @pytest.mark.parametrize(
        "variables",
        [
            {"web_browser": "lynx"},
            {"WEB_PORT": "tcp://10.0.0.1:80"},
            {"store": "x"},
            {"PATH": "/bin"},
        ],
    )
    def test_variables_of_others_are_left_alone(self, read, variables):
        assert read("", variables).origins == {}

    def test_an_unknown_name_in_our_own_form_is_refused(self, read):
        text = fault(read, "", {"ABACO__WEB__PROT": "1"})
        assert "environment variable ABACO__WEB__PROT" in text
        assert "'port'" in text

    def test_the_process_environment_is_the_default(self, write, monkeypatch):
        monkeypatch.setitem(os.environ, "web_case", "camel")
        assert load(write("")).settings.web.case == "camel"

    @pytest.mark.parametrize(
        ("name", "section", "key", "text"),
        [
            ("service_TAG", "general", "tag", "9.9"),
            ("SPAWNER_HOST_ID", "spawner", "host_id", "7"),
            ("MAX_WORKERS_PER_HOST", "spawner", "max_workers_per_host", "3"),
            ("MAX_WORKERS_PER_ACTOR", "spawner", "max_workers_per_actor", "4"),
        ],
    )
    def test_names_of_the_older_abaco(self, read, name, section, key, text):
        found = read("[general]\ntag: old\n", {name: text}).settings
        assert str(getattr(getattr(found, section), key)) == text


class TestMistakes:
    def test_an_unknown_key_comes_with_the_nearest(self, read, tmp_path):
        text = fault(read, "[web]\naccess_controll: none\n")
        assert text == (
            f"{tmp_path / 'abaco.conf'}: [web] access_controll: unknown key;"
            " did you mean 'access_control'?"
        )

    def test_an_unknown_section_comes_with_the_nearest(self, read):
        assert "[worker]: unknown section; did you mean 'workers'?" in fault(read, "[worker]\na: 1")

    def test_unknown_sections_are_told_with_everything_else(self, read, tmp_path):
        text = fault(read, "[worker]\na: 1\nb: 2\n[logz]\n[web]\nport: http\nprot: 1\n")
        where = f"{tmp_path / 'abaco.conf'}: "
        lines = text.splitlines()
        assert all(line.startswith(where) for line in lines)
        assert [line.removeprefix(where).split(":")[0] for line in lines] == [
            "[worker]",
            "[logz]",
            "[web] prot",
            "[web] port",
        ]

    @pytest.mark.parametrize(
        ("text", "faults"),
        [
            ("port: 1\n", ["line 1: 'port: 1' stands before the first [section]"]),
            ("[web]\n\nport\n", ["line 3: 'port' is not `key: value`"]),
            (
                "[web]\none\ncase: snake\ntwo\n",
                ["line 2: 'one' is not `key: value`", "line 4: 'two' is not `key: value`"],
            ),
            (
                "[web]\n[logs]\n[web]\n",
                ["line 3: [web] is there already; a section is written once"],
            ),
            (
                "[web]\nport: 1\nPort: 2\n",
                ["line 3: [web] port is set already; a key is written once"],
            ),
        ],
    )
    def test_a_line_that_makes_no_sense_is_told_with_its_number(self, read, tmp_path, text, faults):
        assert fault(read, text).splitlines() == [
            f"{tmp_path / 'abaco.conf'} {line}" for line in faults
        ]

    def test_default_is_a_section_like_any_other(self, read):
        assert "[DEFAULT]: unknown section" in fault(read, "[DEFAULT]\nport: 1\n")

    def test_with_nothing_near_all_names_are_listed(self, read):
        text = fault(read, "[logs]\nxyzzy: 1\n")
        assert "known: audit_days, file, level" in text

    @pytest.mark.parametrize(
        ("section", "line", "allowed"),
        [
            ("web", "port: http", "a whole number from 0 to 65535"),
            ("web", "port: 65536", "a whole number from 0 to 65535"),
            ("web", "case: kebab", "snake, camel"),
            ("web", "log_ex: -2", "a whole number from -1"),
            ("web", "show_traceback: maybe", "true or false (also yes/no, on/off, 1/0)"),
            ("store", "timeout_s: 0", "a number above 0"),
            ("store", "backend: redis", "sqlite, memory"),
            ("workers", "mem_limit: 3 gig", "-1, or a whole number"),
            ("workers", "mem_limit: 5m", "-1, or a whole number"),
            ("workers", "max_cpus: 9999999", "-1, or a whole number from 10000000"),
            ("engine", "capabilities: KILL, FLY", "names of Linux capabilities"),
            ("engine", "capabilities: ALL", "names of Linux capabilities"),
            ("engine", "shm_size: -1", "a whole number with nothing, b, k, m or g"),
            ("engine", "oom_score: 1001", "a whole number from 0 to 1000"),
            ("general", "min_free_disk: some", "-1, or a whole number"),
            ("runtime", "update_running: stop", "wait, halt"),
            ("workers", "max_cpus: 0.5", "-1, or a whole number from 10000000"),
            ("engine", "podman_socket: podman", "unix:///path or tcp://host:port"),
            ("web", "all_queues: a b", "names of letters, digits"),
            ("spawner", "host_queues: default,,x", "names of letters, digits"),
            ("spawner", "queue_slots: special", "name=number"),
            ("spawner", "queue_slots: a=1, a=2", "name=number"),
            ("spawner", "queue_slots: a=0", "name=number"),
            ("spawner", "weight: 0", "a whole number from 1 to 1000"),
            ("spawner", "dev_weight: much", "a whole number from 1 to 1000"),
            ("runtime", "scale_step: all", "fill, one, 1"),
            ("web", "apim_public_key: not base64!", "the base64 of an RSA public key"),
            ("web", "trusted_gateways: 10.0.0.0/8, there", "addresses and networks"),
            ("web", "trusted_gateways: 10.0.0.1/8", "addresses and networks"),
            ("web", "jwks_url: http://issuer.example.org/", "an https URL"),
            ("web", "jwks_url: https://", "an https URL"),
        ],
    )
    def test_a_bad_value_is_shown_with_what_is_allowed(self, read, section, line, allowed):
        key, value = line.split(": ")
        text = fault(read, f"[{section}]\n{line}\n")
        assert f"[{section}] {key}: {value!r} is not allowed" in text
        assert allowed in text

    def test_everything_wrong_is_said_at_once(self, read):
        text = fault(
            read, "[web]\nport: x\nprot: 1\n", {"logs_level": "LOUD"}, engine__driver="k8s"
        )
        assert len(text.splitlines()) == 4
        assert "environment variable logs_level" in text
        assert "--driver" in text

    def test_a_key_that_is_too_short(self, read):
        key = der_text(rsa.generate_private_key(public_exponent=65537, key_size=1024))
        text = fault(read, f"[web]\napim_public_key: {key}\n")
        assert "1024 bits" in text or "2048 bits" in text

    def test_a_key_that_is_not_rsa(self, read):
        key = der_text(ec.generate_private_key(ec.SECP256R1()))
        assert "RSA" in fault(read, f"[web]\napim_public_key: {key}\n")


class TestRulesOverSeveralKeys:
    def test_jwt_needs_a_key(self, read):
        text = fault(read, "[web]\naccess_control: jwt\n")
        assert "abaco.conf: [web] apim_public_key" in text

    @pytest.mark.parametrize(
        "more", ["accept_bearer: true", "jwks_url: https://a/\njwks_issuer: i\njwks_audience: a"]
    )
    def test_jwt_with_bearer_tokens_needs_none(self, read, more):
        settings = read(f"[web]\naccess_control: jwt\n{more}\n").settings
        assert settings.web.apim_public_key is None

    @pytest.mark.parametrize("key", ["jwks_issuer", "jwks_audience"])
    def test_an_issuer_needs_all_of_its_keys(self, read, key):
        keys = {"jwks_url": "https://a/", "jwks_issuer": "i", "jwks_audience": "a"}
        del keys[key]
        lines = "\n".join(f"{name}: {value}" for name, value in keys.items())
        assert f"[web] {key}" in fault(read, f"[web]\n{lines}\n")

    def test_jwt_with_a_key_may_listen_anywhere(self, read, public_key):
        text = f"[web]\naccess_control: jwt\naddress: 0.0.0.0\napim_public_key: {public_key}\n"
        assert read(text).settings.web.access_control == "jwt"

    @pytest.mark.parametrize("address", ["0.0.0.0", "192.168.1.1", "::", "example.org"])
    def test_no_access_control_means_loopback(self, read, address):
        text = fault(read, "", web__address=address)
        assert "--address: [web] address" in text
        assert "allow_insecure" in text

    @pytest.mark.parametrize("address", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
    def test_loopback_in_all_its_spellings(self, read, address):
        assert read("", web__address=address).settings.web.is_loopback

    def test_who_insists_may_listen_elsewhere(self, read):
        found = read("[web]\nallow_insecure: yes\naddress: 0.0.0.0\n").settings
        assert found.web.address == "0.0.0.0"


class TestDerivedDefaults:
    def test_the_database_lies_in_the_data_directory(self, read, tmp_path):
        found = read("", general__data_dir=str(tmp_path)).settings
        assert found.database_path == tmp_path / "abaco.db"

    def test_the_database_may_lie_elsewhere(self, read, tmp_path):
        found = read(f"[store]\npath: {tmp_path}/x.db\n").settings
        assert found.database_path == tmp_path / "x.db"

    def test_the_system_directory_when_it_can_be_written(self, tmp_path, monkeypatch):
        self.pretend_system_dir(monkeypatch, tmp_path / "lib" / "abaco")
        assert config.default_data_dir() == tmp_path / "lib" / "abaco"

    def test_the_home_directory_otherwise(self, monkeypatch):
        # /proc takes no new directories, not even from root.
        self.pretend_system_dir(monkeypatch, Path("/proc/sys/abaco"))
        assert config.default_data_dir() == Path.home() / ".local" / "share" / "abaco"

    @staticmethod
    def pretend_system_dir(monkeypatch, path):
        field = config.GeneralSettings.model_fields["data_dir"]
        monkeypatch.setattr(field, "default", path)

    def test_links_follow_the_port(self, read):
        found = read("", web__port="8123").settings
        assert found.web.default_api_server == "http://127.0.0.1:8123"

    @pytest.mark.parametrize("port", ["0", "8000"])
    def test_a_port_nobody_knows_yet_changes_no_links(self, read, port):
        found = read("", web__port=port).settings
        assert found.web.default_api_server == "http://127.0.0.1:8000"


class TestTenants:
    def test_a_tenants_own_value(self, read):
        web = read("[web]\nlog_ex: 10\nDEV-Develop_log_ex: 20\n").settings.web
        assert web.for_tenant("log_ex", "dev_develop") == 20
        assert web.for_tenant("log_ex", "DEV-DEVELOP") == 20
        assert web.for_tenant("log_ex", "DEV") == 10

    @pytest.mark.parametrize(
        ("ending", "text", "value"),
        [
            ("log_ex", "5", 5),
            ("log_ex_limit", "6", 6),
            ("default_token", "true", "true"),
            ("api_server", "https://a.b", "https://a.b"),
        ],
    )
    def test_every_key_that_has_a_tenant_form(self, read, ending, text, value):
        web = read(f"[web]\nx_y_{ending}: {text}\n").settings.web
        assert web.for_tenant(ending, "X-Y") == value
        assert web.for_tenant(ending, "Y") != value

    def test_from_the_environment(self, read):
        web = read("", {"web_dev_log_ex": "7"}).settings.web
        assert web.for_tenant("log_ex", "DEV") == 7

    def test_a_bad_value_is_told_by_its_own_name(self, read):
        text = fault(read, "[web]\ndev_log_ex: soon\n")
        assert "[web] dev_log_ex: 'soon' is not allowed; allowed: a whole number from -1" in text

    def test_other_sections_have_none(self, read):
        assert "unknown key" in fault(read, "[logs]\ndev_log_ex: 1\n")

    def test_settings_with_other_tenants_are_not_equal(self, read):
        one, other = read("[web]\na_log_ex: 1\n"), read("[web]\na_log_ex: 2\n")
        assert one.settings != other.settings


class TestOlderNames:
    @pytest.mark.parametrize(
        "text",
        ["unix://var/run/docker.sock", "unix:///var/run/docker.sock", "/var/run/docker.sock"],
    )
    def test_docker_dd_is_the_docker_socket(self, read, text):
        found = read(f"[docker]\ndd: {text}\n")
        assert found.settings.engine.docker_socket == "unix:///var/run/docker.sock"
        assert "(dd)" in found.origins["engine", "docker_socket"]

    def test_the_new_name_wins(self, read):
        found = read("[docker]\ndd: tcp://a:1\n[engine]\ndocker_socket: tcp://b:1\n").settings
        assert found.engine.docker_socket == "tcp://b:1"

    def test_an_older_name_in_the_environment_beats_a_new_one_in_the_file(self, read):
        found = read("[engine]\ndocker_socket: tcp://b:1\n", {"docker_dd": "tcp://a:1"}).settings
        assert found.engine.docker_socket == "tcp://a:1"

    def test_a_bad_value_is_told_by_the_new_name_and_the_old(self, read):
        text = fault(read, "[docker]\ndd: here\n")
        assert "[engine] docker_socket" in text
        assert "(dd)" in text


OLD_FILE = """\
[general]
TAG: 1.9.0
[logs]
level: INFO
level.worker: DEBUG
files: combined
[rabbit]
uri: amqp://user:pw@rabbit:5672
[store]
mongo_host: mongo
mongo_password: hunter2
[docker]
dd: unix://var/run/docker.sock
dockerhub_username_1: jane
dockerhub_password_1: hunter2
[spawner]
host_id: 0
host_queues: default
abaco_conf_host_path: /x/abaco.conf
[workers]
auto_remove: True
dev_generate_clients: False
socket_host_path_dir: /x
max_run_time: -1
[web]
access_control: none
accept_nonce: True
encryption_key: aHVudGVyMmh1bnRlcjJodW50ZXIyaHVudGVyMmh1bnQ=
"""


class TestKeysWithoutEffect:
    def test_an_older_file_is_accepted(self, read):
        found = read(OLD_FILE).settings
        assert found.general.tag == "1.9.0"
        assert found.web.accept_nonce is True

    def test_each_key_is_named_once_in_two_lines(self, read):
        meaningless, not_yet = read(OLD_FILE).notices()
        assert "without meaning" in meaningless
        assert "later release" in not_yet
        for key in ("[rabbit] uri", "[workers] auto_remove", "[logs] files"):
            assert meaningless.count(key) == 1
            assert key not in not_yet
        for key in ("[store] mongo_host", "[logs] level.worker"):
            assert not_yet.count(key) == 1
            assert key not in meaningless

    def test_a_file_without_them_gets_no_lines(self, read):
        assert list(read("[web]\nport: 1\n").notices()) == []

    def test_what_is_in_force_hides_their_values(self, read):
        shown = {(v.section, v.key): v for v in read(OLD_FILE).effective()}
        assert shown["rabbit", "uri"].text == "(hidden)"
        assert shown["store", "mongo_host"].text == "mongo"
        assert "no effect" in shown["store", "mongo_host"].origin
        hidden = ("hunter2", "pw@", "aHVudGVy")
        assert not any(word in value.text for value in shown.values() for word in hidden)
        assert shown["web", "encryption_key"].text == "(hidden)"

    def test_a_bad_secret_is_not_repeated(self, read):
        text = fault(read, "[web]\nencryption_key: hunter2\n")
        assert "[web] encryption_key: the value is not allowed; allowed: a Fernet key" in text
        assert "hunter2" not in text


class TestWhatIsInForce:
    def test_every_key_is_there_once_with_its_origin(self, read):
        values = list(read("[web]\nport: 81\nDEV_log_ex: 5\n").effective())
        places = [(value.section, value.key) for value in values]
        assert len(places) == len(set(places))
        shown = {(v.section, v.key): v for v in values}
        assert shown["web", "port"].text == "81"
        assert shown["web", "port"].origin.endswith("abaco.conf")
        assert shown["web", "case"].origin == "default"
        assert shown["web", "dev_log_ex"].text == "5"
        assert shown["workers", "leave_containers"].text == "false"
        assert shown["logs", "file"].text == ""

    def test_settings_cannot_be_changed(self, read):
        found = read("").settings
        with pytest.raises(ValueError, match="frozen"):
            found.web.port = 1
