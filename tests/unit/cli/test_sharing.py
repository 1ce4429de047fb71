"""``abaco actors share``, ``aliases`` and ``nonces`` against a stub."""

import json

import pytest

from tests.unit.cli.conftest import an_actor

ALIAS = {"alias": "greeter", "actor_id": "a1", "owner": "jane", "_links": {}}
NONCE = {
    "id": "DEV_abc",
    "level": "READ",
    "current_uses": 1,
    "remaining_uses": 2,
    "last_use_time": "None",
    "description": "",
    "actor_id": "a1",
}


@pytest.fixture
def actor(stub):
    stub.answer("GET", "/actors/a1", an_actor())


@pytest.mark.usefixtures("actor")
class TestShare:
    def test_what_is_sent_and_shown(self, stub, run):
        levels = {"testUser": "UPDATE", "jane": "EXECUTE"}
        stub.answer("POST", "/actors/a1/permissions", levels)
        result = run("actors", "share", "a1", "jane", "execute")
        assert result.exit_code == 0, result.output
        assert stub.asked[-1].json == {"user": "jane", "level": "EXECUTE"}
        # names of users are theirs, however they are spelled
        assert result.stdout.splitlines() == ["testUser\tUPDATE", "jane\tEXECUTE"]

    def test_for_programs(self, stub, run):
        stub.answer("POST", "/actors/a1/permissions", {"testUser": "UPDATE"})
        result = run("actors", "share", "a1", "testUser", "UPDATE", "--json")
        assert json.loads(result.stdout) == {"testUser": "UPDATE"}

    def test_a_refusal(self, stub, run):
        stub.answer("POST", "/actors/a1/permissions", "not yours", status=400)
        result = run("actors", "share", "a1", "jane", "READ")
        assert result.exit_code == 1
        assert "not yours (HTTP 400)" in result.stderr

    @pytest.mark.parametrize("words", [["a1", "jane"], ["a1", "jane", "WRITE"]])
    def test_wrong_usage(self, stub, run, words):
        assert run("actors", "share", *words).exit_code == 2
        assert stub.asked == []


class TestAliases:
    def test_list(self, stub, run):
        stub.answer("GET", "/actors/aliases", [ALIAS])
        lines = run("aliases", "list").stdout.splitlines()
        assert lines == ["alias\tactor\towner", "greeter\ta1\tjane"]

    def test_on_a_server_that_writes_camel(self, stub, run):
        stub.answer("GET", "/actors/aliases", [{"alias": "g", "actorId": "a1", "owner": "jane"}])
        assert run("aliases", "list").stdout.splitlines()[1] == "g\ta1\tjane"

    def test_an_empty_list_says_how_to_fill_it(self, stub, run):
        stub.answer("GET", "/actors/aliases", [])
        assert "abaco aliases create" in run("aliases", "list").stderr

    @pytest.mark.usefixtures("actor")
    def test_create(self, stub, run):
        stub.answer("POST", "/actors/aliases", ALIAS)
        result = run("aliases", "create", "greeter", "a1")
        assert result.exit_code == 0, result.output
        assert stub.asked[-1].json == {"alias": "greeter", "actor_id": "a1"}
        assert "greeter\ta1\tjane" in result.stdout

    def test_create_for_an_actor_by_name(self, stub, run):
        stub.answer("GET", "/actors", [an_actor()])
        stub.answer("POST", "/actors/aliases", ALIAS)
        assert run("aliases", "create", "greeter", "hello").exit_code == 0
        assert stub.asked[-1].json["actor_id"] == "a1"

    def test_delete(self, stub, run):
        stub.answer("DELETE", "/actors/aliases/my%20alias", None)
        result = run("aliases", "delete", "my alias")
        assert result.exit_code == 0
        assert "deleted my alias" in result.stderr
        result = run("aliases", "delete", "my alias", "--json")
        assert json.loads(result.stdout) == {"alias": "my alias"}

    def test_one_that_is_not_there(self, stub, run):
        stub.answer("DELETE", "/actors/aliases/nope", "there is no alias 'nope'", status=404)
        result = run("aliases", "delete", "nope")
        assert result.exit_code == 1
        assert "there is no alias" in result.stderr


@pytest.mark.usefixtures("actor")
class TestNonces:
    def test_list(self, stub, run):
        stub.answer("GET", "/actors/a1/nonces", [NONCE])
        lines = run("nonces", "list", "a1").stdout.splitlines()
        assert lines[0].split("\t") == ["nonce", "level", "used", "left", "last use", "description"]
        assert lines[1].split("\t") == ["DEV_abc", "READ", "1", "2", "-", ""]

    def test_an_empty_list(self, stub, run):
        stub.answer("GET", "/actors/aliases/greeter/nonces", [])
        result = run("nonces", "list", "greeter", "--alias")
        assert (result.stdout, "no nonces" in result.stderr) == ("", True)

    def test_create_sends_what_was_given_and_nothing_else(self, stub, run):
        stub.answer("POST", "/actors/a1/nonces", NONCE)
        assert run("nonces", "create", "a1").exit_code == 0
        assert stub.asked[-1].json == {}

    def test_create_with_everything(self, stub, run):
        stub.answer("POST", "/actors/aliases/greeter/nonces", NONCE)
        options = ["--level", "read", "--max-uses", "3", "--description", "poster"]
        result = run("nonces", "create", "greeter", "--alias", *options)
        assert result.exit_code == 0, result.output
        assert stub.asked[-1].json == {"level": "READ", "max_uses": 3, "description": "poster"}
        assert "DEV_abc" in result.stdout

    def test_for_programs(self, stub, run):
        stub.answer("POST", "/actors/a1/nonces", NONCE)
        assert json.loads(run("nonces", "create", "a1", "--json").stdout) == NONCE

    @pytest.mark.parametrize(
        "options", [["--max-uses", "0"], ["--max-uses", "many"], ["--level", "WRITE"]]
    )
    def test_wrong_usage(self, stub, run, options):
        assert run("nonces", "create", "a1", *options).exit_code == 2
        assert stub.asked == []

    def test_delete(self, stub, run):
        stub.answer("DELETE", "/actors/a1/nonces/DEV_abc", None)
        result = run("nonces", "delete", "a1", "DEV_abc")
        assert result.exit_code == 0
        # what opened an actor need not stand in a terminal's history twice
        assert "DEV_abc" not in result.output
        assert json.loads(run("nonces", "delete", "a1", "DEV_abc", "--json").stdout) == {
            "id": "DEV_abc"
        }

    def test_delete_one_of_an_alias(self, stub, run):
        stub.answer("DELETE", "/actors/aliases/greeter/nonces/DEV_abc", None)
        assert run("nonces", "delete", "greeter", "DEV_abc", "--alias").exit_code == 0


@pytest.mark.parametrize(
    "words", [["actors", "share"], ["actors", "create"], ["nonces", "create"], ["serve"]]
)
def test_examples_stand_as_they_are_written(run, words):
    lines = run(*words, "--help").stdout.splitlines()
    at = lines.index("  Examples:")
    assert lines[at + 1].startswith(f"    abaco {words[0]}")
    assert not [line for line in lines if "\\b" in line]
