"""``abaco actors``, ``workers`` and ``state`` against a stub."""

import json

import pytest

from tests.unit.cli.conftest import an_actor


def test_create_sends_what_was_given_and_nothing_else(stub, run):
    stub.answer("POST", "/actors", an_actor())
    result = run("actors", "create", "abaco/hello")
    assert result.exit_code == 0
    assert stub.asked[0].json == {"image": "abaco/hello", "stateless": True}


def test_create_names_every_option_as_the_api_does(stub, run):
    stub.answer("GET", "/actors", [])
    stub.answer("POST", "/actors", an_actor())
    options = "--name n --stateful --description d -e A=1 -e B=x=y --mem-limit 3g --cpus 0.5"
    result = run(
        "actors", "create", "img", *options.split(), "--log-ex", "60", "--max-workers", "2"
    )
    assert result.exit_code == 0, result.output
    assert stub.asked[-1].json == {
        "image": "img",
        "stateless": False,
        "name": "n",
        "description": "d",
        "default_environment": {"A": "1", "B": "x=y"},
        "mem_limit": "3g",
        "max_cpus": 500_000_000,
        "log_ex": 60,
        "max_workers": 2,
    }


class TestOwnLimits:
    def test_create(self, stub, run):
        stub.answer("POST", "/actors", an_actor())
        options = ["--max-run-time", "60", "--read-only", "--network", "none"]
        assert run("actors", "create", "img", *options).exit_code == 0
        limits = {"max_run_time": 60, "read_only_rootfs": True, "network": "none"}
        assert stub.asked[-1].json == {"image": "img", "stateless": True, **limits}

    def test_an_update_keeps_them_or_takes_them_back(self, stub, run):
        actor = an_actor(max_run_time=60, read_only_rootfs=True, network="none")
        stub.answer("GET", "/actors/hello", actor)
        stub.answer("GET", "/actors", [actor])
        stub.answer("PUT", "/actors/a1", actor)
        kept = {"max_run_time": 60, "read_only_rootfs": True, "network": "none"}
        assert run("actors", "update", "hello", "--description", "d").exit_code == 0
        assert stub.asked[-1].json.items() >= kept.items()
        options = ["--max-run-time", "-1", "--writable", "--network", "default"]
        assert run("actors", "update", "hello", *options).exit_code == 0
        changed = {"max_run_time": -1, "read_only_rootfs": False, "network": ""}
        assert stub.asked[-1].json.items() >= changed.items()


class TestTokens:
    @pytest.mark.parametrize(
        ("options", "sent"),
        [
            (["--token"], {"token": True}),
            (["--no-token"], {"token": False}),
            ([], {}),
        ],
    )
    def test_what_is_not_said_is_left_to_the_server(self, stub, run, options, sent):
        stub.answer("POST", "/actors", an_actor())
        assert run("actors", "create", "img", *options).exit_code == 0
        assert stub.asked[-1].json == {"image": "img", "stateless": True, **sent}


class TestWebhooks:
    def test_create_names_whom_to_tell_and_reads_the_secret_from_a_file(self, stub, run, tmp_path):
        stub.answer("POST", "/actors", an_actor())
        secret = tmp_path / "secret"
        secret.write_text("whsec_abc\n")
        options = ["--link", "other", "--webhook", "https://example.org/", "--webhook-secret-file"]
        result = run("actors", "create", "img", *options, str(secret))
        assert result.exit_code == 0, result.output
        assert stub.asked[-1].json == {
            "image": "img",
            "stateless": True,
            "link": "other",
            "webhook": "https://example.org/",
            "webhook_secret": "whsec_abc",
        }
        assert "whsec" not in result.output

    def test_an_update_keeps_them_and_leaves_the_secret_to_the_server(self, stub, run):
        actor = an_actor(link="other", webhook="https://example.org/")
        stub.answer("GET", "/actors/hello", actor)
        stub.answer("GET", "/actors", [actor])
        stub.answer("PUT", "/actors/a1", actor)
        assert run("actors", "update", "hello", "--description", "d").exit_code == 0
        sent = stub.asked[-1].json
        assert (sent["link"], sent["webhook"]) == ("other", "https://example.org/")
        assert "webhook_secret" not in sent

    def test_an_empty_text_tells_nobody_any_more(self, stub, run):
        actor = an_actor(link="other", webhook="https://example.org/")
        stub.answer("GET", "/actors/hello", actor)
        stub.answer("GET", "/actors", [actor])
        stub.answer("PUT", "/actors/a1", actor)
        options = ["--link", "", "--webhook", "", "--webhook-secret-file", "-"]
        assert run("actors", "update", "hello", *options, stdin="").exit_code == 0
        sent = stub.asked[-1].json
        assert (sent["link"], sent["webhook"], sent["webhook_secret"]) == ("", "", "")


@pytest.mark.parametrize(
    "options",
    [
        ["--webhook-secret-file", "/no/such/file"],
        ["-e", "novalue"],
        ["-e", "=x"],
        ["--max-workers", "0"],
        ["--cpus", "0"],
        ["--nonsense"],
    ],
)
def test_wrong_usage_ends_with_2_and_asks_nobody(stub, run, options):
    assert run("actors", "create", "img", *options).exit_code == 2
    assert stub.asked == []


class TestNamesakes:
    def test_a_name_in_use_is_worth_a_warning(self, stub, run):
        stub.answer("GET", "/actors", [an_actor(id="a0"), an_actor(id="a9", name="other")])
        stub.answer("POST", "/actors", an_actor())
        result = run("actors", "create", "img", "--name", "hello")
        assert result.exit_code == 0
        assert "warning: the name 'hello' is in use already (a0)" in result.stderr
        assert "a1\thello" in result.stdout

    def test_another_name_is_not(self, stub, run):
        stub.answer("GET", "/actors", [an_actor(id="a0", name="other")])
        stub.answer("POST", "/actors", an_actor())
        assert run("actors", "create", "img", "--name", "hello").stderr == ""

    def test_without_a_name_nobody_is_asked(self, stub, run):
        stub.answer("POST", "/actors", an_actor())
        run("actors", "create", "img")
        assert [asked.method for asked in stub.asked] == ["POST"]


def test_create_and_wait(stub, run, hasty):
    stub.answer("POST", "/actors", an_actor(status="SUBMITTED"))
    stub.answer("GET", "/actors/a1", an_actor(status="SUBMITTED"))
    stub.answer("GET", "/actors/a1", an_actor(status="READY"))
    stub.answer("GET", "/actors/a1/workers", [{"status": "PULLING IMAGE"}])
    result = run("actors", "create", "img", "--wait")
    assert result.exit_code == 0
    assert "worker: pulling image" in result.stderr
    assert "a1\thello\tREADY" in result.stdout


def test_create_prints_everything_for_programs(stub, run):
    stub.answer("POST", "/actors", an_actor())
    assert json.loads(run("actors", "create", "img", "--json").stdout) == an_actor()


def test_create_and_wait_for_what_never_comes(stub, run):
    stub.answer("POST", "/actors", an_actor(status="SUBMITTED"))
    stub.answer("GET", "/actors/a1", an_actor(status="ERROR", status_message="no image"))
    result = run("actors", "create", "img", "--wait")
    assert result.exit_code == 1
    assert "no image" in result.stderr


def test_a_refusal_is_shown_and_ends_with_1(stub, run):
    stub.answer("POST", "/actors", "image: is malformed", status=400)
    result = run("actors", "create", "!")
    assert result.exit_code == 1
    assert "Error: image: is malformed (HTTP 400)" in result.stderr


def test_list_without_a_terminal_has_tabs_and_a_heading(stub, run):
    stub.answer("GET", "/actors", [an_actor(), an_actor(id="a2", name=None)])
    lines = run("actors", "list").stdout.splitlines()
    assert lines[0].split("\t")[:3] == ["id", "name", "status"]
    assert lines[2].split("\t")[:3] == ["a2", "-", "READY"]


def test_an_empty_list_says_how_to_fill_it(stub, run):
    stub.answer("GET", "/actors", [])
    result = run("actors", "list")
    assert result.stdout == ""
    assert "abaco actors create" in result.stderr


@pytest.mark.parametrize("flag", [["--json"], ["-o", "json"]])
def test_json_output_is_json_and_nothing_else(stub, run, flag):
    stub.answer("GET", "/actors", [])
    result = run("actors", "list", *flag)
    assert json.loads(result.stdout) == []
    assert result.stderr == ""


def test_control_characters_are_shown_not_obeyed(stub, run):
    stub.answer("GET", "/actors", [an_actor(name="\x1b[2Jevil\nname")])
    text = run("actors", "list").stdout
    assert "\\x1b[2Jevil\\nname" in text
    assert "\x1b" not in text


class TestFinding:
    def test_by_id(self, stub, run):
        stub.answer("GET", "/actors/a1", an_actor())
        assert "id\ta1" in run("actors", "show", "a1").stdout

    def test_by_name(self, stub, run):
        stub.answer("GET", "/actors", [an_actor(id="a0", name="other"), an_actor()])
        assert "id\ta1" in run("actors", "show", "hello").stdout

    def test_neither(self, stub, run):
        stub.answer("GET", "/actors", [])
        result = run("actors", "show", "hello")
        assert result.exit_code == 1
        assert "no actor has the id or name 'hello'" in result.stderr

    def test_a_name_of_several(self, stub, run):
        stub.answer("GET", "/actors", [an_actor(), an_actor(id="a2")])
        result = run("actors", "show", "hello")
        assert result.exit_code == 1
        assert "use an id: a1, a2" in result.stderr

    def test_other_errors_are_not_taken_for_absence(self, stub, run):
        stub.answer("GET", "/actors/hello", "not yours", status=400)
        result = run("actors", "show", "hello")
        assert "not yours" in result.stderr
        assert len(stub.asked) == 1

    def test_on_a_server_that_writes_camel(self, stub, run):
        actor = an_actor() | {"createTime": "now"}
        del actor["create_time"]
        stub.answer("GET", "/actors/a1", actor)
        assert "create_time\tnow" in run("actors", "show", "a1").stdout


class TestUpdate:
    def test_what_is_not_named_is_sent_as_it_is(self, stub, run):
        found = an_actor(
            description="d", max_workers=3, hints=["x"], default_environment={"A": 1}, log_ex=5
        )
        stub.answer("GET", "/actors/a1", found)
        stub.answer("PUT", "/actors/a1", found)
        assert run("actors", "update", "a1", "--image", "new").exit_code == 0
        assert stub.asked[-1].json == {
            "image": "new",
            "description": "d",
            "max_workers": 3,
            "hints": ["x"],
            "default_environment": {"A": 1},
            "log_ex": 5,
        }

    def test_what_is_named_replaces(self, stub, run):
        stub.answer("GET", "/actors/a1", an_actor(default_environment={"A": 1}, privileged=True))
        stub.answer("PUT", "/actors/a1", an_actor())
        options = ["--no-privileged", "--use-container-uid", "--force"]
        run("actors", "update", "a1", "-e", "B=2", *options)
        body = stub.asked[-1].json
        assert body["default_environment"] == {"B": "2"}
        assert body["privileged"] is False
        assert body["use_container_uid"] is True
        assert body["force"] is True
        assert body["image"] == "abaco/hello"

    @pytest.mark.parametrize("options", [[], ["--wait"], ["--timeout", "3"]])
    def test_without_a_change_it_is_wrong_usage(self, stub, run, options):
        result = run("actors", "update", "a1", *options)
        assert result.exit_code == 2
        assert "nothing to change" in result.stderr
        assert stub.asked == []

    @pytest.mark.parametrize(("token", "sent"), [(True, True), ("true", None), ("false", None)])
    def test_only_a_chosen_token_is_sent(self, stub, run, token, sent):
        stub.answer("GET", "/actors/a1", an_actor(token=token))
        stub.answer("PUT", "/actors/a1", an_actor())
        run("actors", "update", "a1", "--force")
        assert stub.asked[-1].json.get("token") is sent


def test_delete(stub, run):
    stub.answer("GET", "/actors/a1", an_actor())
    stub.answer("DELETE", "/actors/a1", None)
    result = run("actors", "delete", "a1")
    assert result.exit_code == 0
    assert "deleted a1" in result.stderr
    assert json.loads(run("actors", "delete", "a1", "--json").stdout) == {"id": "a1"}


def test_workers(stub, run):
    stub.answer("GET", "/actors/a1", an_actor())
    worker = {"id": "w1", "status": "PULLING IMAGE", "image": "i", "last_execution_time": "None"}
    stub.answer("GET", "/actors/a1/workers", [worker])
    row = run("workers", "a1").stdout.splitlines()[1].split("\t")
    assert row == ["w1", "PULLING IMAGE", "i", "-", "-", "-"]


def test_workers_of_a_broken_actor(stub, run):
    stub.answer("GET", "/actors/a1", an_actor(status="ERROR", status_message="no such image"))
    stub.answer("GET", "/actors/a1/workers", [])
    result = run("workers", "a1")
    assert result.exit_code == 0
    assert "in ERROR (no such image); no worker starts before an update" in result.stderr
    assert "a message starts one" not in result.stderr


def test_no_workers_of_an_actor_that_is_well(stub, run):
    stub.answer("GET", "/actors/a1", an_actor())
    stub.answer("GET", "/actors/a1/workers", [])
    assert run("workers", "a1").stderr == "no workers; a message starts one\n"


class TestState:
    @pytest.fixture(autouse=True)
    def _actor(self, stub):
        stub.answer("GET", "/actors/a1", an_actor())

    def test_get_prints_json(self, stub, run):
        stub.answer("GET", "/actors/a1/state", {"state": {"aB": [1, "é"]}})
        result = run("state", "get", "a1")
        assert json.loads(result.stdout) == {"aB": [1, "é"]}
        assert "é" in result.stdout

    @pytest.mark.parametrize("text", ['{"n": 1}', '"text"', "0", "null", "[]"])
    def test_set_takes_any_json_value(self, stub, run, text):
        stub.answer("POST", "/actors/a1/state", an_actor(state=json.loads(text)))
        result = run("state", "set", "a1", text)
        assert result.exit_code == 0, result.output
        assert stub.asked[-1].body == json.dumps(json.loads(text)).encode()

    def test_set_reads_a_file(self, stub, run, tmp_path):
        path = tmp_path / "state.json"
        path.write_text('{"n": 2}')
        stub.answer("POST", "/actors/a1/state", an_actor(state={"n": 2}))
        result = run("state", "set", "a1", f"@{path}", "--json")
        assert json.loads(result.stdout) == {"n": 2}

    def test_set_reads_standard_input(self, stub, run):
        stub.answer("POST", "/actors/a1/state", an_actor(state=3))
        run("state", "set", "a1", "@-", stdin="3")
        assert stub.asked[-1].json == 3

    @pytest.mark.parametrize("text", ["text", "{", "@/no/such/file", ""])
    def test_set_refuses_what_is_no_json(self, stub, run, text):
        assert run("state", "set", "a1", text).exit_code == 2
        assert stub.asked == []


class TestProof:
    @pytest.fixture
    def token_file(self, tmp_path):
        path = tmp_path / "token"
        path.write_text("abc.def\n")
        return str(path)

    def test_header_and_token_file(self, stub, run, token_file):
        stub.answer("GET", "/actors", [])
        run("actors", "list", "--jwt-header", "X-JWT-Assertion-DEV", "--token-file", token_file)
        assert stub.asked[0].headers["X-Jwt-Assertion-Dev"] == "abc.def"

    def test_from_the_environment(self, stub, run, token_file):
        stub.answer("GET", "/actors", [])
        environment = {"ABACO_JWT_HEADER": "X-JWT-Assertion-DEV", "ABACO_TOKEN_FILE": token_file}
        run("actors", "list", **environment)
        assert stub.asked[0].headers["X-Jwt-Assertion-Dev"] == "abc.def"

    def test_one_without_the_other_is_wrong_usage(self, run, token_file):
        assert run("actors", "list", "--jwt-header", "X").exit_code == 2


class TestCron:
    SCHEDULE = "CRON_TZ=Europe/Berlin 30 6 * * 1-5"

    @pytest.mark.parametrize(
        ("options", "sent"),
        [
            (["--cron", SCHEDULE], {"cron_schedule": SCHEDULE}),
            (["--cron", "now + 1 hour", "--cron-off"],
             {"cron_schedule": "now + 1 hour", "cron_on": False}),
        ],
    )  # fmt: skip
    def test_create_sends_the_schedule(self, stub, run, options, sent):
        stub.answer("POST", "/actors", an_actor())
        assert run("actors", "create", "img", *options).exit_code == 0
        assert stub.asked[0].json == {"image": "img", "stateless": True} | sent

    @pytest.mark.parametrize(
        ("options", "sent"),
        [
            (["--cron-on"], {"cron_on": True}),
            (["--cron-off"], {"cron_on": False}),
            (["--cron", ""], {"cron_schedule": ""}),
            (["--description", "new"], {"description": "new"}),
        ],
    )
    def test_update_sends_what_changes_and_leaves_the_rest_to_the_server(
        self, stub, run, options, sent
    ):
        present = an_actor(cron_schedule="now + 1 hour", cron_on=True, cron_next_ex="2078-9-6 20")
        stub.answer("GET", "/actors/a1", present)
        stub.answer("PUT", "/actors/a1", present)
        assert run("actors", "update", "a1", *options).exit_code == 0
        assert stub.asked[-1].json == {"image": "abaco/hello"} | sent

    def test_what_comes_next_is_shown(self, stub, run):
        present = an_actor(cron_schedule=self.SCHEDULE, cron_on=True, cron_next_ex="2078-9-6 4:30")
        stub.answer("GET", "/actors", [present])
        stub.answer("GET", "/actors/a1", present)
        heading, row = run("actors", "list").stdout.splitlines()
        assert dict(zip(heading.split("\t"), row.split("\t"), strict=True))["next cron"] == (
            "2078-9-6 4:30"
        )
        assert f"cron_schedule\t{self.SCHEDULE}" in run("actors", "show", "a1").stdout
