"""Settings of mounts and users."""

from __future__ import annotations

from pathlib import Path

import pytest

from abaco.config import Configuration, Settings, load
from abaco.domain.host_access import HostUser
from abaco.errors import ConfigError

PAIR = {"actor_uid": 1000, "actor_gid": 100}


@pytest.fixture
def read(tmp_path: Path):
    def read_text(text: str, **environment: str) -> Configuration:
        path = tmp_path / "abaco.conf"
        path.write_text(text)
        return load(path, environment=environment)

    return read_text


def fault(call, *args, **kwargs) -> str:
    with pytest.raises(ConfigError) as caught:
        call(*args, **kwargs)
    return caught.value.message


class TestMounts:
    def test_an_older_file_is_taken_as_it_is(self, read):
        found = read(
            "[workers]\nglobal_mounts: /data:/data:ro\n"
            "AGAVE-PROD_global_mounts: /work/{tasdir}:/work:rw,/corral:/corral:ro\n"
            "privileged_mounts: /etc/abaco:/etc/abaco:ro\n"
        )
        workers = found.settings.workers
        assert workers.for_tenant("global_mounts", "agave_prod").startswith("/work/{tasdir}")
        assert workers.for_tenant("global_mounts", "OTHER") == "/data:/data:ro"
        assert workers.privileged_mounts == "/etc/abaco:/etc/abaco:ro"
        assert not found.unused

    @pytest.mark.parametrize("key", ["global_mounts", "privileged_mounts", "dev_global_mounts"])
    def test_a_bad_item_stops_the_start_and_is_named(self, read, key):
        text = fault(read, f"[workers]\n{key}: /a:/b:ro, /c:/proc/x:rw\n")
        assert f"abaco.conf: [workers] {key}: " in text
        assert "('/c:/proc/x:rw': nothing can be mounted at '/proc/x' of a container)" in text
        assert "allowed: <host path>:<container path>:<ro or rw>" in text

    def test_two_at_one_place(self, read):
        assert "two items" in fault(read, "[workers]\nglobal_mounts: /a:/b:ro, /c:/b:ro\n")

    def test_other_faults_say_what_they_did(self, read):
        text = fault(read, "[workers]\nmount_missing: make\nuse_tas_uid: maybe\n")
        assert "[workers] mount_missing: 'make' is not allowed; allowed: error, skip" in text
        assert "[workers] use_tas_uid: 'maybe' is not allowed; allowed: true or false" in text


class TestUsers:
    @pytest.mark.parametrize(
        ("text", "key"),
        [
            ("actor_uid: 5", "actor_uid"),
            ("actor_gid: 5", "actor_gid"),
            ("actor_homedir: /x", "actor_homedir"),
            ("actor_uid: 5\nactor_gid: 5\nDEV_actor_gid: 6", "dev_actor_gid"),
            ("actor_uid: 5\nactor_gid: 5\nDEV_actor_homedir: /x", "dev_actor_homedir"),
        ],
    )
    def test_half_a_user_is_none(self, read, text, key):
        message = fault(read, f"[workers]\n{text}\n")
        assert f"abaco.conf: [workers] {key}: actor_uid and actor_gid must both be there" in message

    @pytest.mark.parametrize("tenant", ["", "dev_"])
    def test_root_only_where_it_is_allowed(self, read, tenant):
        text = f"[workers]\n{tenant}actor_uid: 0\n{tenant}actor_gid: 0\n"
        assert f"[workers] {tenant}actor_uid: less than least_uid (1)" in fault(read, text)
        workers = read(f"{text}least_uid: 0\n").settings.workers
        assert workers.fixed_user("DEV") == HostUser(uid=0, gid=0)

    @pytest.mark.parametrize("value", ["-1", "4294967295", "x", "1.5"])
    def test_numbers_the_kernel_does_not_give(self, read, value):
        text = fault(read, f"[workers]\nactor_uid: {value}\nactor_gid: 1\n")
        assert "[workers] actor_uid" in text

    def test_a_home_with_a_way_up(self, read):
        text = fault(read, "[workers]\nactor_uid: 1\nactor_gid: 1\nactor_homedir: /a/../b\n")
        assert "[workers] actor_homedir" in text

    def test_a_tenants_own_user_wins_as_a_whole(self):
        workers = Settings(
            workers={
                **PAIR,
                "actor_homedir": "/everybody",
                "DEV_actor_uid": 2000,
                "DEV_actor_gid": 200,
            }
        ).workers
        assert workers.fixed_user("dev") == HostUser(uid=2000, gid=200, home=None)
        assert workers.fixed_user("other") == HostUser(uid=1000, gid=100, home="/everybody")

    def test_nobody_is_configured(self):
        assert Settings().workers.fixed_user("DEV") is None
        none = Settings(workers={**PAIR, "identity_provider": "none"}).workers
        assert none.fixed_user("DEV") is None


class TestLookups:
    @pytest.mark.parametrize(
        ("provider", "switch", "own", "expected"),
        [
            ("auto", None, None, False),
            ("auto", True, None, True),
            ("auto", False, True, True),
            ("auto", True, False, False),
            ("system", None, None, True),
            ("system", False, None, False),
            ("system", None, False, False),
            ("system", False, True, True),
            ("http", None, None, True),
            ("http", None, False, False),
            ("static", True, True, False),
            ("none", True, True, False),
        ],
    )
    def test_whose_owners_are_looked_up(self, provider, switch, own, expected):
        values = {"identity_provider": provider, "use_tas_uid": switch}
        if own is not None:
            values["DEV_use_tas_uid"] = own
        found = Settings(workers=values, identity={"url": "http://tas"}).workers
        assert found.is_looked_up("DEV") is expected

    def test_the_older_keys_and_variables(self, read):
        found = read(
            "[workers]\nuse_tas_uid: False\nDEV_use_tas_uid: True\n",
            TAS_URL_BASE="https://tas.example.org/v1",
            TAS_ROLE_ACCT="abaco",
            TAS_ROLE_PASS="hunter2",
            TAS_GID="816",
        )
        identity = found.settings.identity
        assert (identity.url, identity.username) == ("https://tas.example.org/v1", "abaco")
        assert identity.password.get_secret_value() == "hunter2"
        assert identity.gid == 816
        assert found.settings.workers.is_looked_up("dev")
        assert not found.settings.workers.is_looked_up("other")
        assert "hunter2" not in str([*found.effective()]) + repr(found.settings)

    @pytest.mark.parametrize(
        "text", ["use_tas_uid: true", "dev_use_tas_uid: true", "identity_provider: http"]
    )
    def test_a_lookup_needs_somebody_to_ask(self, read, text):
        assert "[identity] url" in fault(read, f"[workers]\n{text}\n")

    @pytest.mark.parametrize("url", ["tas.example.org", "ftp://x", "http://", "http://x/?a=b"])
    def test_urls(self, read, url):
        assert "[identity] url" in fault(read, f"[identity]\nurl: {url}\n")
