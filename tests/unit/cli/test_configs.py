"""``abaco configs`` and ``abaco admin rotate-key`` against a stub."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.unit.cli.conftest import an_actor

SECRET = "correct horse"
CIPHERTEXT = "gAAAAABciphertext"
PATH = "/actors/configs/limits"


def a_config(**changes: Any) -> dict[str, Any]:
    config = {"name": "limits", "value": "5", "is_secret": False, "actors": "a1"}
    return config | changes


@pytest.fixture
def server(stub):
    """A stub with one actor, one alias, and no configs."""
    stub.answer("GET", "/actors/a1", an_actor())
    stub.answer("GET", "/actors", [an_actor()])
    stub.answer("GET", "/actors/aliases", [{"alias": "greeter", "actor_id": "a1"}])
    stub.answer("GET", PATH, "there is no config 'limits'", status=404)
    stub.answer("POST", "/actors/configs", a_config())
    return stub


class TestShowing:
    def test_list(self, stub, run):
        hidden = a_config(name="password", value=CIPHERTEXT, is_secret=True)
        stub.answer("GET", "/actors/configs", [a_config(), hidden])
        lines = run("configs", "list").stdout.splitlines()
        assert [line.split("\t") for line in lines] == [
            ["name", "value", "secret", "actors"],
            ["limits", "5", "false", "a1"],
            ["password", "(secret)", "true", "a1"],
        ]

    def test_on_a_server_that_writes_camel(self, stub, run):
        camel = {"name": "limits", "value": CIPHERTEXT, "isSecret": True, "actors": "a1"}
        stub.answer("GET", "/actors/configs", [camel])
        assert run("configs", "list").stdout.splitlines()[1] == "limits\t(secret)\ttrue\ta1"

    def test_an_empty_list_says_how_to_fill_it(self, stub, run):
        stub.answer("GET", "/actors/configs", [])
        assert "abaco configs set" in run("configs", "list").stderr

    def test_get(self, stub, run):
        stub.answer("GET", PATH, a_config())
        lines = run("configs", "get", "limits").stdout.splitlines()
        assert lines == ["name\tlimits", "value\t5", "is_secret\tfalse", "actors\ta1"]

    @pytest.mark.parametrize("more", [(), ("--json",)])
    def test_a_secret_is_never_printed(self, stub, run, more):
        stub.answer("GET", PATH, a_config(value=CIPHERTEXT, is_secret=True))
        stub.answer("GET", "/actors/configs", [a_config(value=CIPHERTEXT, is_secret=True)])
        for words in (("get", "limits"), ("list",)):
            output = run("configs", *words, *more).output
            assert CIPHERTEXT not in output
            assert "(secret)" in output

    def test_one_that_is_not_there(self, server, run):
        result = run("configs", "get", "limits")
        assert result.exit_code == 1
        assert "there is no config" in result.stderr


class TestSetting:
    def test_a_new_one(self, server, run):
        result = run("configs", "set", "limits", "5", "--actors", "a1")
        assert result.exit_code == 0, result.output
        assert server.asked[-1].json == a_config()
        assert result.stdout.splitlines()[1] == "limits\t5\tfalse\ta1"

    def test_names_become_ids_and_aliases_stay(self, server, run):
        result = run("configs", "set", "limits", "5", "--actors", "hello, greeter,a1")
        assert result.exit_code == 0, result.output
        assert server.asked[-1].json["actors"] == "a1,greeter,a1"

    def test_an_actor_nobody_knows(self, server, run):
        result = run("configs", "set", "limits", "5", "--actors", "nobody")
        assert result.exit_code == 1
        assert "'nobody'" in result.stderr
        assert server.sent("POST") == []

    def test_a_new_one_needs_actors(self, server, run):
        result = run("configs", "set", "limits", "5")
        assert (result.exit_code, "--actors" in result.stderr) == (2, True)

    @pytest.mark.parametrize("end", ["", "\n"])
    def test_a_secret_out_of_a_file(self, server, run, tmp_path, end):
        file = tmp_path / "password"
        file.write_text(f"{SECRET}{end}")
        server.answer("POST", "/actors/configs", a_config(value=CIPHERTEXT, is_secret=True))
        result = run("configs", "set", "limits", f"@{file}", "--secret", "--actors", "a1")
        assert result.exit_code == 0, result.output
        assert server.asked[-1].json == a_config(value=SECRET, is_secret=True)
        assert SECRET not in result.output
        assert CIPHERTEXT not in result.output

    def test_out_of_standard_input(self, server, run):
        words = ("configs", "set", "limits", "@-", "--secret", "--actors", "a1")
        assert run(*words, stdin=f"{SECRET}\nmore\n").exit_code == 0
        assert server.asked[-1].json["value"] == f"{SECRET}\nmore"

    def test_asked_for_and_not_echoed(self, server, run):
        words = ("configs", "set", "limits", "--secret", "--actors", "a1")
        result = run(*words, stdin=f"{SECRET}\n{SECRET}\n")
        assert result.exit_code == 0, result.output
        assert server.asked[-1].json["value"] == SECRET
        assert SECRET not in result.output

    def test_a_file_that_is_none(self, server, run, tmp_path):
        (tmp_path / "binary").write_bytes(b"\xff")
        for name, words in (("nothing", "cannot be read"), ("binary", "no UTF-8")):
            file = f"@{tmp_path / name}"
            result = run("configs", "set", "limits", file, "--actors", "a1")
            assert (result.exit_code, words in result.stderr) == (2, True)
        assert server.sent("POST") == []


class TestChanging:
    @pytest.fixture
    def present(self, stub):
        stub.answer("GET", PATH, a_config(value=CIPHERTEXT, is_secret=True, actors="a1, greeter"))
        stub.answer("GET", "/actors/a1", an_actor())
        stub.answer("GET", "/actors/aliases", [])
        stub.answer("PUT", PATH, a_config(value=CIPHERTEXT, is_secret=True))
        return stub

    def test_the_value_only(self, present, run):
        assert run("configs", "set", "limits", SECRET).exit_code == 0
        sent = present.asked[-1].json
        assert sent == a_config(value=SECRET, is_secret=True, actors="a1, greeter")

    def test_the_actors_only(self, present, run):
        """The server takes the form it has shown for the secret itself."""
        assert run("configs", "set", "limits", "--actors", "a1").exit_code == 0
        sent = present.asked[-1].json
        assert sent == a_config(value=CIPHERTEXT, is_secret=True, actors="a1")

    def test_no_secret_any_more_needs_the_value(self, present, run):
        words = ("configs", "set", "limits", "--no-secret")
        assert run(*words, stdin="5\n5\n").exit_code == 0
        sent = present.asked[-1].json
        assert sent == a_config(value="5", is_secret=False, actors="a1, greeter")

    def test_what_the_server_refuses(self, stub, run):
        stub.answer("GET", PATH, "you do not have access to this config", status=400)
        result = run("configs", "set", "limits", "5")
        assert result.exit_code == 1
        assert "do not have access" in result.stderr
        assert stub.sent("PUT") == stub.sent("POST") == []

    def test_delete(self, stub, run):
        stub.answer("DELETE", PATH, None)
        assert "deleted limits" in run("configs", "delete", "limits").stderr
        assert json.loads(run("configs", "delete", "limits", "--json").stdout) == {"name": "limits"}

    def test_share(self, stub, run):
        stub.answer("POST", f"{PATH}/permissions", {"testUser": "UPDATE", "jane": "READ"})
        result = run("configs", "share", "limits", "jane", "read")
        assert result.stdout.splitlines() == ["testUser\tUPDATE", "jane\tREAD"]
        assert stub.asked[-1].json == {"user": "jane", "level": "READ"}
        assert run("configs", "share", "limits", "jane", "WRITE").exit_code == 2


class TestRotating:
    URI = "/actors/admin/encryption-key"

    @staticmethod
    def a_report(**changes: Any) -> dict[str, Any]:
        idle = {
            "is_running": False, "reencrypted": 0, "unreadable": 0, "old_keys": 0, "failure": "",
        }  # fmt: skip
        return idle | changes

    def test_until_it_is_done(self, stub, run, hasty):
        stub.answer("POST", self.URI, self.a_report(is_running=True, old_keys=1))
        stub.answer("GET", self.URI, self.a_report(is_running=True, reencrypted=2, old_keys=1))
        stub.answer("GET", self.URI, self.a_report(reencrypted=7))
        result = run("admin", "rotate-key")
        assert result.exit_code == 0, result.output
        assert "reencrypted\t7" in result.stdout.splitlines()
        assert "encrypted anew: 2" in result.stderr
        assert len(hasty) == 1

    def test_not_waiting(self, stub, run):
        stub.answer("POST", self.URI, self.a_report(is_running=True, old_keys=1))
        result = run("admin", "rotate-key", "--no-wait", "--json")
        assert json.loads(result.stdout)["is_running"] is True
        assert stub.sent("GET") == []

    def test_a_failure(self, stub, run):
        stub.answer("POST", self.URI, self.a_report(is_running=True, old_keys=1))
        stub.answer("GET", self.URI, self.a_report(old_keys=1, failure="no space left"))
        result = run("admin", "rotate-key")
        assert result.exit_code == 1
        assert "the old key is kept: no space left" in result.stderr

    def test_what_cannot_be_read_is_told(self, stub, run):
        stub.answer("POST", self.URI, self.a_report(is_running=True))
        stub.answer("GET", self.URI, self.a_report(unreadable=3))
        result = run("admin", "rotate-key")
        assert result.exit_code == 0
        assert "3 secrets cannot be read" in result.stderr

    def test_for_administrators(self, stub, run):
        stub.answer("POST", self.URI, "only administrators may do this", status=400)
        result = run("admin", "rotate-key")
        assert (result.exit_code, "administrators" in result.stderr) == (1, True)
