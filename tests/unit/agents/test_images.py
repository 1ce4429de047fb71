"""The image keeper and the evictor, over memory and an engine's host of our own making."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from abaco.config import Settings
from abaco.domain.ids import Tenant
from abaco.domain.image import repository_of
from abaco.errors import DriverError, EngineTimeoutError, ImageMissingError
from abaco.lifecycle.images import PullRule
from abaco.ports.driver import Credentials, ImageHost, ImageInfo
from abaco.ports.images import EVERYBODY, ImageId
from abaco.ports.store import Stores
from agents.images import ImageKeeper, Wanted
from backends.registries import ConfiguredRegistries
from backends.stores.memory import open_stores
from tests.support.records import NOON, TENANT, SteppedClock
from tests.support.stores import insert_actor

HOST = "private.example"
NAME = f"{HOST}/team/counter:1"
OTHER = Tenant("OTHER")


@dataclass
class PretendHost(ImageHost):
    """A host of images, and the one registry it pulls from; pulls wait for ``gate``."""

    #: what the registry has: id by name
    registry: dict[str, str] = field(default_factory=dict)
    #: accounts the registry lets in; empty lets everybody in
    users: set[str] = field(default_factory=set)
    #: what the host has: names by id
    images: dict[str, set[str]] = field(default_factory=dict)
    pulls: list[tuple[str, str | None]] = field(default_factory=list)
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    error: Exception | None = None
    at_once: int = 0
    most_at_once: int = 0

    def describe(self, reference: str, image_id: str, *, is_pulled: bool = False) -> ImageInfo:
        names = tuple(sorted(self.images[image_id]))
        repository = repository_of(reference)
        return ImageInfo(
            reference=reference,
            id=image_id,
            digest=f"{repository}@{image_id}" if image_id in self.registry.values() else "",
            tags=tuple(name for name in names if "@" not in name),
            repositories=tuple(repository_of(name) for name in names),
            size_bytes=100,
            is_pulled=is_pulled,
        )

    def _find(self, reference: str) -> str | None:
        if reference in self.images:
            return reference
        found = [image for image, names in self.images.items() if reference in names]
        return found[0] if found else None

    async def find_image(self, reference: str) -> ImageInfo | None:
        image_id = self._find(reference)
        return None if image_id is None else self.describe(reference, image_id)

    async def pull_image(
        self,
        reference: str,
        *,
        timeout_s: float,
        may_keep: bool,
        credentials: Credentials | None = None,
        progress: Callable[[str], None] | None = None,
    ) -> ImageInfo:
        user = None if credentials is None else credentials.username
        self.pulls.append((reference, user))
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            await self.gate.wait()
        finally:
            self.at_once -= 1
        if self.error is not None:
            raise self.error
        image_id = self.registry.get(reference)
        if "@" in reference and reference.partition("@")[2] in self.registry.values():
            image_id = reference.partition("@")[2]
        if image_id is None or (self.users and user not in self.users):
            present = self._find(reference)
            if may_keep and present is not None:
                return self.describe(reference, present)
            raise ImageMissingError(f"image {reference!r} could not be pulled: denied")
        for names in self.images.values():
            names.discard(reference)
        self.images.setdefault(image_id, set()).add(reference)
        return self.describe(reference, image_id, is_pulled=True)

    async def list_images(self) -> Mapping[str, int]:
        return dict.fromkeys(self.images, 100)

    async def remove_image(self, image_id: str, references: Collection[str]) -> bool:
        self.images.pop(image_id, None)
        return True


@pytest.fixture
def clock() -> SteppedClock:
    return SteppedClock()


@pytest.fixture
async def stores(clock: SteppedClock) -> AsyncIterator[Stores]:
    async with open_stores(Settings(), clock) as stores:
        yield stores


@pytest.fixture
def host() -> PretendHost:
    host = PretendHost(registry={NAME: "sha256:one", "plain": "sha256:plain"})
    host.gate.set()
    return host


@pytest.fixture
def make(host: PretendHost, stores: Stores, clock: SteppedClock) -> Callable[..., ImageKeeper]:
    def make(word: str = "if_not_present", *, pulls: int = 2, **keys: str) -> ImageKeeper:
        """A keeper; ``keys`` are those of the section of the registry."""
        settings = Settings.model_validate({"registries": {HOST: keys} if keys else {}})
        return ImageKeeper(
            host,
            stores,
            ConfiguredRegistries(settings),
            clock,
            PullRule(word, 300.0),
            timeout_s=9,
            max_parallel_pulls=pulls,
        )

    return make


Make = Callable[..., ImageKeeper]
DEV_ACCOUNT = {"dev_username": "dev", "dev_password": "pw"}


async def wanted(stores: Stores, reference: str = NAME, **fields: Any) -> Wanted:
    actor = await insert_actor(stores, **fields)
    return Wanted(actor.key, actor.revision, reference)


async def updated(stores: Stores, want: Wanted, *, force: bool) -> Wanted:
    """A new revision of the same image."""
    actor = await stores.actors.get(want.actor)
    new = await stores.actors.update(
        actor.key, actor.definition, new_revision=True, now=NOON, pull_image=force
    )
    return Wanted(want.actor, new.revision, want.reference)


class TestPulls:
    async def test_one_pull_serves_all_who_wait_for_the_same_image(
        self, make: Make, host: PretendHost, stores: Stores
    ) -> None:
        keeper, host.gate = make(), asyncio.Event()
        waiting = [
            asyncio.create_task(keeper.ensure(await wanted(stores, "plain"))) for _ in range(5)
        ]
        await asyncio.sleep(0.01)
        host.gate.set()
        images = await asyncio.gather(*waiting)
        assert host.pulls == [("plain", None)]
        assert {image.id for image in images} == {"sha256:plain"}
        assert not keeper._shared._locks
        assert not keeper._shared._fresh

    async def test_different_images_come_side_by_side_up_to_the_limit(
        self, make: Make, host: PretendHost, stores: Stores
    ) -> None:
        keeper, host.gate = make(pulls=2), asyncio.Event()
        names = [f"image-{number}" for number in range(5)]
        host.registry = {name: f"sha256:{name}" for name in names}
        wants = [await wanted(stores, name) for name in names]
        waiting = [asyncio.create_task(keeper.ensure(want)) for want in wants]
        await asyncio.sleep(0.01)
        assert host.most_at_once == 2
        host.gate.set()
        await asyncio.gather(*waiting)
        assert len(host.pulls) == 5
        assert host.most_at_once == 2

    async def test_a_failed_pull_is_tried_by_the_next_who_waits(
        self, make: Make, host: PretendHost, stores: Stores
    ) -> None:
        keeper, host.error = make(), ImageMissingError("no such image")
        wants = [await wanted(stores) for _ in range(2)]
        results = await asyncio.gather(*map(keeper.ensure, wants), return_exceptions=True)
        assert [type(result) for result in results] == [ImageMissingError] * 2
        assert len(host.pulls) == 2
        assert not keeper._shared._users
        assert await stores.images.list_begun() == {}

    async def test_who_stops_waiting_does_not_stop_the_others(
        self, make: Make, host: PretendHost, stores: Stores
    ) -> None:
        keeper, host.gate = make(), asyncio.Event()
        first, second = [
            asyncio.create_task(keeper.ensure(await wanted(stores, "plain"))) for _ in range(2)
        ]
        await asyncio.sleep(0.01)
        first.cancel()
        await asyncio.sleep(0)
        host.gate.set()
        assert (await second).reference == "plain"
        assert len(host.pulls) == 2

    async def test_a_pull_whose_end_is_not_known_stays_noted(
        self, make: Make, host: PretendHost, stores: Stores
    ) -> None:
        keeper, host.error = make(), EngineTimeoutError("too slow")
        with pytest.raises(EngineTimeoutError):
            await keeper.ensure(await wanted(stores))
        assert await stores.images.list_begun() == {NAME: NOON}
        host.error = None
        host.images["sha256:one"] = {NAME}  # it came all the same
        image = await make("always").ensure(await wanted(stores))
        record = await stores.images.find(ImageId(image.id))
        assert record is not None
        assert record.is_ours
        assert await stores.images.list_begun() == {}

    @pytest.mark.parametrize(("present", "is_ours"), [("sha256:old", True), ("sha256:one", False)])
    async def test_what_is_new_on_the_host_is_ours_though_its_name_is_not(
        self, make: Make, host: PretendHost, stores: Stores, present: str, is_ours: bool
    ) -> None:
        host.images[present] = {NAME}
        image = await make("always").ensure(await wanted(stores))
        (record,) = await stores.images.list_images()
        assert (image.id, record.id, record.is_ours) == ("sha256:one", "sha256:one", is_ours)

    async def test_an_account_that_cannot_be_read_is_a_fault_of_the_host(
        self, make: Make, host: PretendHost, stores: Stores
    ) -> None:
        keeper = make(username="x", password_file="/none/such")
        with pytest.raises(DriverError, match="cannot be read"):
            await keeper.ensure(await wanted(stores))
        assert host.pulls == []

    @pytest.mark.parametrize("name", ["sha256:" + "a" * 64, "a" * 64])
    async def test_images_are_not_called_by_their_ids(
        self, make: Make, host: PretendHost, stores: Stores, name: str
    ) -> None:
        host.images[name] = {NAME}
        with pytest.raises(ImageMissingError, match="not by its id"):
            await make().ensure(await wanted(stores, name))


class TestPins:
    async def test_a_revision_runs_what_its_first_worker_found(
        self, make: Make, host: PretendHost, stores: Stores
    ) -> None:
        keeper, want = make("always"), await wanted(stores)
        assert (await keeper.ensure(want)).id == "sha256:one"
        host.registry[NAME] = "sha256:two"
        host.images["sha256:two"] = {NAME}
        for _ in range(3):
            image = await keeper.ensure(want)
            assert image.id == "sha256:one"
            assert (image.reference, image.digest) == (NAME, f"{HOST}/team/counter@sha256:one")
        assert len(host.pulls) == 1

    async def test_another_actor_or_revision_asks_anew(
        self, make: Make, host: PretendHost, stores: Stores
    ) -> None:
        keeper, want = make("always"), await wanted(stores)
        await keeper.ensure(want)
        host.registry[NAME] = "sha256:two"
        assert (await keeper.ensure(await wanted(stores))).id == "sha256:two"
        assert (await keeper.ensure(await updated(stores, want, force=False))).id == "sha256:two"
        assert (await keeper.ensure(want)).id in ("sha256:one", "sha256:two")

    async def test_force_asks_the_registry_though_the_image_is_here(
        self, make: Make, host: PretendHost, stores: Stores
    ) -> None:
        keeper, want = make("if_not_present"), await wanted(stores)
        await keeper.ensure(want)
        host.registry[NAME] = "sha256:two"
        calm = await updated(stores, want, force=False)
        assert (await keeper.ensure(calm)).id == "sha256:one"
        assert (await keeper.ensure(await updated(stores, want, force=True))).id == "sha256:two"
        assert len(host.pulls) == 2

    async def test_force_keeps_an_image_no_registry_has(
        self, make: Make, host: PretendHost, stores: Stores
    ) -> None:
        host.images["sha256:local"] = {"built"}
        keeper, want = make(), await wanted(stores, "built")
        forced = await updated(stores, want, force=True)
        assert (await keeper.ensure(forced)).id == "sha256:local"
        assert await stores.images.list_images() == []  # nothing was pulled

    async def test_two_that_find_different_images_run_the_same(
        self, make: Make, host: PretendHost, stores: Stores
    ) -> None:
        keeper, host.gate, want = make(), asyncio.Event(), await wanted(stores)
        slow = asyncio.create_task(keeper.ensure(want))
        await asyncio.sleep(0.01)
        host.images["sha256:two"] = set()
        await stores.pins.set(want.actor, 1, ImageId("sha256:two"), "")
        host.gate.set()
        assert (await slow).id == "sha256:two"

    async def test_an_image_that_is_gone_is_pulled_by_its_digest(
        self, make: Make, host: PretendHost, stores: Stores
    ) -> None:
        keeper, want = make(), await wanted(stores)
        await keeper.ensure(want)
        host.images.clear()
        host.registry |= {NAME: "sha256:two", "old": "sha256:one"}
        image = await keeper.ensure(want)
        assert image.id == "sha256:one"
        assert host.pulls[-1] == (f"{HOST}/team/counter@sha256:one", None)

    async def test_an_image_nobody_has_any_more_is_an_error_that_helps(
        self, make: Make, host: PretendHost, stores: Stores
    ) -> None:
        keeper, want = make(), await wanted(stores)
        await keeper.ensure(want)
        host.images.clear()
        host.registry.clear()
        with pytest.raises(ImageMissingError, match=r"revision 1 .* gone .* denied.* force"):
            await keeper.ensure(want)

    async def test_an_image_of_no_registry_cannot_be_brought_back(
        self, make: Make, host: PretendHost, stores: Stores
    ) -> None:
        host.images["sha256:local"] = {"built"}
        keeper, want = make(), await wanted(stores, "built")
        await keeper.ensure(want)
        host.images.clear()
        with pytest.raises(ImageMissingError, match="no registry is known"):
            await keeper.ensure(want)
        assert host.pulls == []

    async def test_never_brings_nothing_back(
        self, make: Make, host: PretendHost, stores: Stores
    ) -> None:
        want = await wanted(stores)
        await make().ensure(want)
        host.images.clear()
        with pytest.raises(ImageMissingError, match="never"):
            await make("never").ensure(want)
        assert len(host.pulls) == 1


class TestTenants:
    async def test_an_account_is_used_for_its_own_tenant_alone(
        self, make: Make, host: PretendHost, stores: Stores
    ) -> None:
        host.users = {"dev"}
        keeper = make(**DEV_ACCOUNT)
        await keeper.ensure(await wanted(stores))
        with pytest.raises(ImageMissingError, match="denied"):
            await keeper.ensure(await wanted(stores, tenant=OTHER))
        assert host.pulls == [(NAME, "dev"), (NAME, None)]

    @pytest.mark.parametrize("word", ["if_not_present", "always", "max_age", "never"])
    async def test_what_is_on_the_host_for_one_is_not_for_another(
        self, make: Make, host: PretendHost, stores: Stores, word: str
    ) -> None:
        host.users = {"dev"}
        await make(**DEV_ACCOUNT).ensure(await wanted(stores))
        with pytest.raises(ImageMissingError):
            await make(word, **DEV_ACCOUNT).ensure(await wanted(stores, tenant=OTHER))
        image = await make(word, **DEV_ACCOUNT).ensure(await wanted(stores))
        assert image.id == "sha256:one"

    async def test_under_another_name_it_is_no_less_private(
        self, make: Make, host: PretendHost, stores: Stores
    ) -> None:
        host.users = {"dev"}
        keeper = make(**DEV_ACCOUNT)
        await keeper.ensure(await wanted(stores))
        host.images["sha256:one"].add("handy:latest")
        with pytest.raises(ImageMissingError, match="denied"):
            await keeper.ensure(await wanted(stores, "handy:latest", tenant=OTHER))

    async def test_with_no_record_a_guarded_registry_decides(
        self, make: Make, host: PretendHost, stores: Stores
    ) -> None:
        """As after a crash between a pull and its record, or with a store that forgets."""
        host.users = {"dev"}
        host.images["sha256:one"] = {NAME}
        keeper = make(**DEV_ACCOUNT)
        with pytest.raises(ImageMissingError, match="denied"):
            await keeper.ensure(await wanted(stores, tenant=OTHER))
        await keeper.ensure(await wanted(stores))
        assert host.pulls == [(NAME, None), (NAME, "dev")]

    async def test_the_second_tenant_is_let_in_by_the_registry(
        self, make: Make, host: PretendHost, stores: Stores
    ) -> None:
        host.users = {"dev", "second"}
        keeper = make(**DEV_ACCOUNT, other_username="second", other_password="pw")
        for _ in range(2):
            await keeper.ensure(await wanted(stores))
            await keeper.ensure(await wanted(stores, tenant=OTHER))
        assert host.pulls == [(NAME, "dev"), (NAME, "second")]
        record = await stores.images.find(ImageId("sha256:one"))
        assert record is not None
        assert record.tenants == {TENANT, OTHER}

    async def test_what_the_registry_gives_anybody_is_for_all(
        self, make: Make, host: PretendHost, stores: Stores
    ) -> None:
        keeper = make(**DEV_ACCOUNT)
        await keeper.ensure(await wanted(stores))
        for tenant in ("OTHER", "THIRD"):
            await keeper.ensure(await wanted(stores, tenant=Tenant(tenant)))
        assert host.pulls == [(NAME, "dev"), (NAME, None)]

    async def test_an_account_for_all_makes_images_for_all(
        self, make: Make, host: PretendHost, stores: Stores
    ) -> None:
        host.users = {"all"}
        keeper = make(username="all", password="pw")
        await keeper.ensure(await wanted(stores))
        await keeper.ensure(await wanted(stores, tenant=OTHER))
        assert host.pulls == [(NAME, "all")]
        record = await stores.images.find(ImageId("sha256:one"))
        assert record is not None
        assert record.tenants == {EVERYBODY}

    async def test_two_tenants_at_once_are_both_asked_for(
        self, make: Make, host: PretendHost, stores: Stores
    ) -> None:
        host.users = {"dev"}
        keeper, host.gate = make(**DEV_ACCOUNT), asyncio.Event()
        mine, theirs = await wanted(stores), await wanted(stores, tenant=OTHER)
        waiting = [asyncio.create_task(keeper.ensure(want)) for want in (mine, theirs)]
        await asyncio.sleep(0.01)
        host.gate.set()
        results = await asyncio.gather(*waiting, return_exceptions=True)
        assert [type(result) for result in results] == [ImageInfo, ImageMissingError]


class TestAge:
    async def test_a_pull_counts_for_a_while(
        self, make: Make, host: PretendHost, stores: Stores, clock: SteppedClock
    ) -> None:
        keeper = make("max_age")
        for seconds, pulls in ((0, 1), (299, 1), (2, 2), (1, 2)):
            clock.advance(seconds)
            await keeper.ensure(await wanted(stores))
            assert len(host.pulls) == pulls

    async def test_the_end_of_a_worker_is_a_use(
        self, make: Make, stores: Stores, clock: SteppedClock
    ) -> None:
        keeper = make()
        image = await keeper.ensure(await wanted(stores))
        keeper.changed.clear()
        now = clock.advance(7)
        await keeper.release(image)
        assert keeper.changed.is_set()
        record = await stores.images.find(ImageId(image.id))
        assert record is not None
        assert (record.pulled_at, record.used_at) == (NOON, now)
