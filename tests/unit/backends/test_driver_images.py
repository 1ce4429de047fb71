"""Images as drivers know them, without an engine: names, accounts, and what errors say."""

from __future__ import annotations

import base64
import json
import traceback
from collections.abc import AsyncGenerator, Mapping
from pathlib import Path

import pytest

from abaco.config import Settings
from abaco.domain.image import fold_registry, is_content_id, registry_of, repository_of
from abaco.errors import ImageMissingError, StartFailedError
from abaco.ports.driver import ContainerSpec, Credentials, ImageInfo
from backends.drivers import docker
from backends.drivers.engine_http import EngineHttp
from backends.drivers.engine_wire import EngineReplyError, Request
from backends.drivers.images import (
    Image,
    ImageApi,
    Images,
    PullError,
    account_header,
    with_registry,
    with_tag,
)
from tests.support.records import TENANT, an_actor, worker_key

WHO = Credentials(username="jane", password="correct-horse")
PAIR = base64.b64encode(b"jane:correct-horse").decode()
ID = f"sha256:{'a' * 64}"


class RefusingApi(ImageApi):
    """An engine with one image, whose pulls and removals fail as told."""

    def __init__(self, error: Exception | None = None, *, tags: tuple[str, ...] = ()) -> None:
        self.error = error
        self.tags = tags
        self.headers: Mapping[str, str] = {}
        self.removed: list[str] = []

    async def find(self, reference: str) -> Image | None:
        return Image(id=ID, has_command=True, tags=self.tags) if self.tags else None

    async def pull(self, reference: str, headers: Mapping[str, str]) -> AsyncGenerator[str, None]:
        self.headers = headers
        yield "begun"
        if self.error is not None:
            raise self.error

    async def sizes(self) -> Mapping[str, int]:
        return {}

    async def is_used(self, image_id: str) -> bool:
        return False

    async def remove(self, name: str) -> None:
        if self.error is not None:
            raise self.error
        self.removed.append(name)


async def pull(api: ImageApi, who: Credentials | None, *, may_keep: bool = False) -> ImageInfo:
    return await Images(api, 1).pull(
        "host.example/x:1",
        timeout_s=5,
        may_keep=may_keep,
        credentials=who,
        progress=lambda line: None,
    )


@pytest.mark.parametrize(
    "error",
    [
        PullError(f"denied for jane:correct-horse ({PAIR})"),
        EngineReplyError(500, f"denied for jane:correct-horse ({PAIR})"),
    ],
)
async def test_an_error_that_repeats_the_password_is_blanked_out(error: Exception) -> None:
    with pytest.raises(ImageMissingError, match=r"denied for jane:\*\*\*") as caught:
        await pull(RefusingApi(error), WHO)
    told = "".join(traceback.format_exception(caught.value))
    assert "correct-horse" not in told
    assert PAIR not in told


async def test_without_an_account_errors_are_as_they_are() -> None:
    with pytest.raises(ImageMissingError, match="unauthorized"):
        await pull(RefusingApi(PullError("unauthorized")), None)


async def test_what_is_here_is_kept_from_whom_the_registry_refuses() -> None:
    api = RefusingApi(PullError("unauthorized"), tags=("host.example/x:1",))
    assert not (await pull(api, None, may_keep=True)).is_pulled
    with pytest.raises(ImageMissingError, match="unauthorized"):
        await pull(api, None)


async def test_the_account_goes_into_a_header() -> None:
    api = RefusingApi()
    with pytest.raises(ImageMissingError, match="gone again"):
        await pull(api, WHO)
    sent = json.loads(base64.urlsafe_b64decode(api.headers["X-Registry-Auth"]))
    assert sent == {
        "username": "jane",
        "password": "correct-horse",
        "serveraddress": "host.example",
    }
    assert account_header("x", None) == {}
    assert "correct-horse" not in repr(WHO)
    assert sent["password"] not in repr(Request("POST", "/", None, api.headers))
    assert api.headers["X-Registry-Auth"] not in repr(Request("POST", "/", None, api.headers))


@pytest.mark.parametrize(("status", "is_gone"), [(404, True), (409, False), (500, False)])
async def test_the_engine_has_the_last_word_about_removals(status: int, *, is_gone: bool) -> None:
    images = Images(RefusingApi(EngineReplyError(status, "in use"), tags=("x:1",)), 1)
    assert await images.remove(ID, ["x:1"]) is is_gone


async def test_all_names_go_and_the_image_with_the_last() -> None:
    api = RefusingApi(tags=("x:1", "docker.io/library/x:2"))
    assert not await Images(api, 1).remove(ID, ["x:1"])
    assert api.removed == []
    assert await Images(api, 1).remove(ID, ["x:1", "x:2", "x:3"])
    assert api.removed == ["docker.io/library/x:2", ID]


@pytest.mark.parametrize(
    ("reference", "name"),
    [
        ("x", "x:latest"),
        ("x:1", "x:1"),
        ("h:5000/x", "h:5000/x:latest"),
        (f"h:5000/x:1@{ID}", f"h:5000/x@{ID}"),
        (f"x@{ID}", f"x@{ID}"),
    ],
)
def test_names_get_a_tag_and_digests_lose_it(reference: str, name: str) -> None:
    assert with_tag(reference) == name


@pytest.mark.parametrize(
    ("reference", "registry", "repository"),
    [
        ("x", "docker.io", "x"),
        ("team/x:1", "docker.io", "team/x"),
        ("docker.io/team/x", "docker.io", "docker.io/team/x"),
        ("index.docker.io/team/x", "docker.io", "index.docker.io/team/x"),
        ("localhost/x:1", "localhost", "localhost/x"),
        ("Host.Example/x", "host.example", "Host.Example/x"),
        (f"h:5000/a/b:1@{ID}", "h:5000", "h:5000/a/b"),
    ],
)
def test_a_reference_has_parts(reference: str, registry: str, repository: str) -> None:
    assert registry_of(reference) == registry
    assert repository_of(reference) == repository


@pytest.mark.parametrize(
    ("reference", "whole"),
    [
        ("x:1", "docker.io/library/x:1"),
        ("team/x", "docker.io/team/x"),
        ("docker.io/x", "docker.io/library/x"),
        ("index.docker.io/team/x", "docker.io/team/x"),
        ("localhost/x", "localhost/x"),
        ("h:5000/x", "h:5000/x"),
    ],
)
def test_short_names_are_of_docker_hub(reference: str, whole: str) -> None:
    assert with_registry(reference) == whole


def test_urls_of_registries_are_understood() -> None:
    assert fold_registry("https://Host.Example:5000/v2/") == "host.example:5000"
    assert fold_registry("https://index.docker.io/v1/") == "docker.io"


@pytest.mark.parametrize("reference", [ID, "a" * 64, f"sha256:{'A' * 64}"])
def test_content_ids_are_known_as_such(reference: str) -> None:
    assert is_content_id(reference)


@pytest.mark.parametrize("reference", ["x", "a" * 63, f"x@{ID}", f"h/{'a' * 64}"])
def test_names_are_no_content_ids(reference: str) -> None:
    assert not is_content_id(reference)


@pytest.mark.parametrize("has_command", [True, False])
async def test_a_container_is_prepared_without_a_call(tmp_path: Path, *, has_command: bool) -> None:
    """Nobody listens at the endpoint, so any call would fail."""
    http = EngineHttp(f"unix://{tmp_path}/nobody", timeout_s=1)
    driver = docker.build_driver(http, Settings(), "mine")
    actor = an_actor()
    spec = ContainerSpec(
        image=ImageInfo(reference="x", id=ID, has_command=has_command),
        tenant=TENANT,
        actor_id=actor.id,
        worker_id=worker_key(actor.key, "w").id,
        revision=1,
    )
    if has_command:
        assert (await driver.prepare(spec)).spec is spec
    else:
        with pytest.raises(StartFailedError, match="no CMD or ENTRYPOINT"):
            await driver.prepare(spec)
    await driver.close()
