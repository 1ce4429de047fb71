"""Who knows the users of the host: its own database, an accounting service, the configuration."""

from __future__ import annotations

import asyncio
import os
import pwd
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from abaco.config import Settings
from abaco.domain.host_access import HostUser
from abaco.domain.ids import Tenant
from abaco.errors import ConfigError, IdentityUnavailableError, NoAccountError
from abaco.ports.identity import IdentityProvider
from backends.apart import Apart
from backends.users.accounting import MAX_ANSWER_BYTES, Accounting, AccountingUsers
from backends.users.select import make_lookup, open_users
from backends.users.system import SystemUsers
from tests.support.accounting import AccountingService, serve_accounting
from tests.support.records import SteppedClock

DEV = Tenant("DEV")


@pytest.fixture
def service() -> Iterator[AccountingService]:
    with serve_accounting() as service:
        service.users["jane"] = {"uid": 1001, "homeDirectory": "/home/05/jane"}
        yield service


class TestSystem:
    async def test_a_user_there_is(self) -> None:
        expected = pwd.getpwnam("daemon")
        user = await SystemUsers(5.0).find(DEV, "daemon")
        assert user == HostUser(uid=expected.pw_uid, gid=expected.pw_gid, home=expected.pw_dir)

    @pytest.mark.parametrize("name", ["no-such-user-here", "", "0", "a\0b", "\ud800", "../root"])
    async def test_a_user_there_is_not(self, name: str) -> None:
        with pytest.raises(NoAccountError, match="no account") as caught:
            await SystemUsers(5.0).find(DEV, name)
        assert caught.value.field == "owner"

    async def test_a_database_that_does_not_answer(self, monkeypatch: pytest.MonkeyPatch) -> None:
        release = threading.Event()
        monkeypatch.setattr(pwd, "getpwnam", lambda name: release.wait())
        users = SystemUsers(0.05)
        try:
            for _ in range(6):  # more than may hang at once
                with pytest.raises(IdentityUnavailableError, match="does not answer"):
                    await users.find(DEV, "jane")
        finally:
            release.set()

    async def test_who_this_process_is(self) -> None:
        text = await SystemUsers(5.0).check()
        assert pwd.getpwuid(os.geteuid()).pw_name in text


class TestApart:
    async def test_results_and_errors_come_back(self) -> None:
        apart = Apart("t", count=2, timeout_s=5.0)
        assert await apart.call(divmod, 7, 2) == (3, 1)
        with pytest.raises(ZeroDivisionError):
            await apart.call(divmod, 7, 0)

    async def test_calls_are_in_threads_that_do_not_keep_the_process(self) -> None:
        thread = await Apart("t", count=1, timeout_s=5.0).call(threading.current_thread)
        assert thread.daemon
        assert thread.name == "t"

    async def test_no_more_than_so_many_at_once_and_places_come_back(self) -> None:
        apart = Apart("t", count=2, timeout_s=0.05)
        release = threading.Event()
        for _ in range(4):
            with pytest.raises(TimeoutError):
                await apart.call(release.wait)
        assert sum(thread.name == "t" for thread in threading.enumerate()) == 2
        hanging = [thread for thread in threading.enumerate() if thread.name == "t"]
        release.set()
        for thread in hanging:
            await asyncio.to_thread(thread.join)
        assert [await apart.call(int, "7") for _ in range(4)] == [7] * 4


class TestAccounting:
    @pytest.fixture
    async def stack(self) -> AsyncIterator[AsyncExitStack]:
        async with AsyncExitStack() as stack:
            yield stack

    @pytest.fixture
    def make(self, service: AccountingService, stack: AsyncExitStack) -> Any:
        def make(**changes: Any) -> AccountingUsers:
            fields = {"url": service.url, "username": "abaco", "password": "hunter2", **changes}
            users = AccountingUsers(Accounting(**fields))
            stack.callback(users.close)
            return users

        return make

    async def test_a_user_whose_group_has_the_same_number(self, make: Any) -> None:
        user = await make().find(DEV, "jane")
        assert user == HostUser(uid=1001, gid=1001, home="/home/05/jane")

    async def test_a_group_for_all(self, make: Any) -> None:
        assert (await make(gid=816).find(DEV, "jane")).gid == 816
        assert (await make(gid=0).find(DEV, "jane")).gid == 0

    async def test_the_group_of_a_profile(self, make: Any, service: AccountingService) -> None:
        service.profiles["DEV", "jane"] = "4711"
        users = make(gid=816, profile_url=service.profile_url, profile_token="hunter2")
        assert (await users.find(DEV, "jane")).gid == 4711
        assert (await users.find(Tenant("OTHER"), "jane")).gid == 816

    async def test_names_are_quoted(self, make: Any, service: AccountingService) -> None:
        for name in ("../admin", "a b?c#d", "jöe@x/y"):
            service.users[name] = {"uid": 7, "homeDirectory": None}
            assert (await make().find(DEV, name)).uid == 7
        assert "/v1/users/username/..%2Fadmin" in service.asked

    @pytest.mark.parametrize("status", [None, 404])
    async def test_a_user_nobody_knows(
        self, make: Any, service: AccountingService, status: int | None
    ) -> None:
        service.status = status
        with pytest.raises(NoAccountError, match="does not know"):
            await make().find(DEV, "joe")

    @pytest.mark.parametrize("status", [302, 400, 401, 403, 500, 503])
    async def test_a_service_that_refuses(
        self, make: Any, service: AccountingService, status: int
    ) -> None:
        service.status = status
        with pytest.raises(IdentityUnavailableError):
            await make().find(DEV, "jane")
        assert len(service.asked) == 1

    @pytest.mark.parametrize(
        "body",
        [
            b"", b"no json", b"[]", b'"x"', b"\xff", b'{"result": 7}', b'{"result": {}}',
            b'{"result": {"uid": "x"}}', b'{"result": {"uid": true}}',
            b'{"result": {"uid": 7.5}}', b'{"result": {"uid": 7, "homeDirectory": 7}}',
            b'{"result": {"uid": null, "homeDirectory": "/x"}}', b" " * (MAX_ANSWER_BYTES + 1),
        ],
    )  # fmt: skip
    async def test_an_answer_that_cannot_be_read(
        self, make: Any, service: AccountingService, body: bytes
    ) -> None:
        service.body = body
        with pytest.raises(IdentityUnavailableError):
            await make().find(DEV, "jane")

    async def test_a_wrong_password_is_not_shown(self, make: Any) -> None:
        with pytest.raises(IdentityUnavailableError) as caught:
            await make(password="opensesame").find(DEV, "jane")
        assert "opensesame" not in f"{caught.value!r}{caught.value.detail}"
        assert "opensesame" not in repr(Accounting(url="x", password="opensesame"))

    async def test_a_service_that_is_slow(self, make: Any, service: AccountingService) -> None:
        service.delay_s = 1.0
        with pytest.raises(IdentityUnavailableError):
            await make(timeout_s=0.1).find(DEV, "jane")

    async def test_a_service_that_is_away(self, make: Any) -> None:
        with pytest.raises(IdentityUnavailableError):
            await make(url="http://127.0.0.1:1").find(DEV, "jane")

    async def test_the_check_is_content_with_any_answer(
        self, make: Any, service: AccountingService
    ) -> None:
        assert service.url in await make().check()
        service.status = 401
        with pytest.raises(IdentityUnavailableError):
            await make().check()


class TestSelect:
    @pytest.fixture
    def clock(self) -> SteppedClock:
        return SteppedClock()

    @pytest.fixture
    async def stack(self) -> AsyncIterator[AsyncExitStack]:
        async with AsyncExitStack() as stack:
            yield stack

    @pytest.fixture
    def opened(self, service: AccountingService, stack: AsyncExitStack, clock: SteppedClock) -> Any:
        async def opened(ttl: float = 60.0, **workers: Any) -> IdentityProvider:
            identity = {
                "url": service.url, "username": "abaco", "password": "hunter2", "ttl": ttl
            }  # fmt: skip
            settings = Settings(workers=workers, identity=identity)
            return await stack.enter_async_context(open_users(settings, clock))

        return opened

    async def test_nobody_unless_somebody_is_configured(
        self, opened: Any, service: AccountingService
    ) -> None:
        assert await (await opened()).find(DEV, "jane") is None
        assert service.asked == []

    async def test_each_tenant_in_its_way(self, opened: Any, service: AccountingService) -> None:
        users = await opened(
            actor_uid=10, actor_gid=11, B_actor_uid=20, B_actor_gid=21, C_use_tas_uid=True
        )
        assert await users.find(Tenant("A"), "jane") == HostUser(uid=10, gid=11)
        assert await users.find(Tenant("B"), "jane") == HostUser(uid=20, gid=21)
        assert service.asked == []
        assert (await users.find(Tenant("C"), "jane")).uid == 1001

    async def test_a_lookup_that_fails_never_becomes_the_configured_user(self, opened: Any) -> None:
        users = await opened(actor_uid=10, actor_gid=11, use_tas_uid=True)
        with pytest.raises(NoAccountError):
            await users.find(DEV, "joe")

    async def test_the_hosts_database(self, opened: Any) -> None:
        users = await opened(identity_provider="system")
        assert (await users.find(DEV, "daemon")).uid == pwd.getpwnam("daemon").pw_uid

    async def test_answers_are_used_again_for_a_while(
        self, opened: Any, service: AccountingService, clock: SteppedClock
    ) -> None:
        users = await opened(ttl=60, use_tas_uid=True)
        for _ in range(3):
            await users.find(DEV, "jane")
        assert len(service.asked) == 1
        service.users["jane"]["uid"] = 2002
        clock.advance(59)
        assert (await users.find(DEV, "jane")).uid == 1001
        clock.advance(2)
        assert (await users.find(DEV, "jane")).uid == 2002
        await users.find(Tenant("OTHER"), "jane")
        assert len(service.asked) == 3

    async def test_failures_are_not_remembered(
        self, opened: Any, service: AccountingService
    ) -> None:
        users = await opened(use_tas_uid=True)
        service.status = 500
        with pytest.raises(IdentityUnavailableError):
            await users.find(DEV, "jane")
        service.status = None
        assert (await users.find(DEV, "jane")).uid == 1001

    async def test_no_memory_at_all(self, opened: Any, service: AccountingService) -> None:
        users = await opened(ttl=0, use_tas_uid=True)
        for _ in range(3):
            await users.find(DEV, "jane")
        assert len(service.asked) == 3

    async def test_a_password_in_a_file(self, service: AccountingService, tmp_path: Path) -> None:
        path = tmp_path / "password"
        path.write_text("hunter2\n")
        identity = {
            "url": service.url, "username": "abaco", "password": "no", "password_file": path
        }  # fmt: skip
        lookup = make_lookup(Settings(workers={"use_tas_uid": True}, identity=identity))
        assert lookup is not None
        assert (await lookup.find(DEV, "jane")).uid == 1001
        lookup.close()

    @pytest.mark.parametrize("key", ["password_file", "profile_token_file"])
    def test_a_file_that_cannot_be_read(self, tmp_path: Path, key: str) -> None:
        identity = {"url": "http://tas", key: tmp_path / "no"}
        with pytest.raises(ConfigError, match=f"identity.{key}: .*no cannot be read"):
            make_lookup(Settings(workers={"use_tas_uid": True}, identity=identity))
