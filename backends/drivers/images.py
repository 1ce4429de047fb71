"""Get images onto the engine's host, as the pull policy says."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
from abc import abstractmethod
from collections import defaultdict
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Collection, Mapping
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from abaco.domain.image import DOCKER_HUB, is_content_id, registry_of, repository_of
from abaco.errors import EngineTimeoutError, ImageMissingError
from abaco.metrics import image_pull
from abaco.ports.driver import Credentials, ImageInfo
from backends.drivers.engine_wire import EngineReplyError

log = logging.getLogger(__name__)


class PullError(Exception):
    """A registry or the engine refused the pull; the text is the engine's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """An image as found on the host."""

    #: content id, ``sha256:...``
    id: str
    #: whether it says what to run (ENTRYPOINT or CMD)
    has_command: bool
    #: its names with tags
    tags: tuple[str, ...] = ()
    #: its names with the digests by which registries know it
    digests: tuple[str, ...] = ()
    size_bytes: int = 0


class ImageApi(Protocol):
    """The few image calls of one engine."""

    @abstractmethod
    async def find(self, reference: str) -> Image | None:
        """Look for an image on the host, by name or id."""

    @abstractmethod
    def pull(self, reference: str, headers: Mapping[str, str]) -> AsyncGenerator[str, None]:
        """Pull, giving lines about the progress. Raises PullError, EngineReplyError."""

    @abstractmethod
    async def sizes(self) -> Mapping[str, int]:
        """Return the size in bytes of every image, by content id."""

    @abstractmethod
    async def is_used(self, image_id: str) -> bool:
        """Tell whether there is a container of the image, running or not."""

    @abstractmethod
    async def remove(self, name: str) -> None:
        """Remove a name; with the last one, or by id, the image. Raises EngineReplyError."""


def read_image(answer: Mapping[str, Any]) -> Image:
    """Read an inspect answer; Docker's and Podman's have the same names in it."""
    config = answer.get("Config") or {}
    return Image(
        id=content_id(str(answer["Id"])),
        has_command=bool(config.get("Entrypoint") or config.get("Cmd")),
        tags=tuple(answer.get("RepoTags") or ()),
        digests=tuple(answer.get("RepoDigests") or ()),
        size_bytes=int(answer.get("Size") or 0),
    )


def content_id(text: str) -> str:
    """Spell a content id with its algorithm, which Podman leaves out."""
    return text if ":" in text else f"sha256:{text}"


def with_tag(reference: str) -> str:
    """Add ``:latest`` to a name that has neither tag nor digest; a tag beside a digest goes."""
    name, at, digest = reference.partition("@")
    if at:
        return f"{repository_of(name)}@{digest}"
    if ":" in reference.rpartition("/")[2]:
        return reference
    return f"{reference}:latest"


def with_registry(reference: str) -> str:
    """Spell out the registry as Docker understands a short name."""
    host, slash, rest = reference.partition("/")
    is_host = slash and ("." in host or ":" in host or host == "localhost")
    if is_host and registry_of(reference) != DOCKER_HUB:
        return reference
    path = rest if is_host else reference
    return f"{DOCKER_HUB}/{path}" if "/" in path else f"{DOCKER_HUB}/library/{path}"


def account_header(reference: str, credentials: Credentials | None) -> Mapping[str, str]:
    """Make the header by which engines are given an account for a pull."""
    if credentials is None:
        return {}
    account = {
        "username": credentials.username,
        "password": credentials.password,
        "serveraddress": registry_of(reference),
    }
    return {"X-Registry-Auth": base64.urlsafe_b64encode(json.dumps(account).encode()).decode()}


def _describe(reference: str, image: Image, *, is_pulled: bool = False) -> ImageInfo:
    """Tell about an image what callers want to know of the one they asked for."""
    repository = with_registry(repository_of(reference))
    digests = [each for each in image.digests if with_registry(repository_of(each)) == repository]
    digest = with_tag(reference) if "@" in reference else next(iter(digests), "")
    names = (*image.tags, *image.digests)
    return ImageInfo(
        reference=reference,
        id=image.id,
        digest=digest,
        tags=image.tags,
        repositories=tuple(dict.fromkeys(repository_of(name) for name in names)),
        size_bytes=image.size_bytes,
        has_command=image.has_command,
        is_pulled=is_pulled,
    )


class Images:
    """The images of one engine. Pulls of one reference wait for each other.

    Args:
        api: The engine's calls.
        max_pulls: Pulls that may run at once.

    """

    def __init__(self, api: ImageApi, max_pulls: int) -> None:
        self._api = api
        self._pulls = asyncio.Semaphore(max_pulls)
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._users: defaultdict[str, int] = defaultdict(int)

    async def find(self, reference: str) -> ImageInfo | None:
        """Look for an image on the host."""
        found = await self._api.find(_name(reference))
        return None if found is None else _describe(reference, found)

    async def sizes(self) -> Mapping[str, int]:
        """Return the size of every image, by content id."""
        return await self._api.sizes()

    async def remove(self, image_id: str, references: Collection[str]) -> bool:
        """Remove an image; see ``ImageHost.remove_image``."""
        found = await self._api.find(image_id)
        if found is None:
            return True
        known = {with_registry(with_tag(reference)) for reference in references}
        if not known.issuperset(map(with_registry, found.tags)):
            return False
        if await self._api.is_used(image_id):
            return False
        try:
            # engines remove no image by its id that has several tags
            for tag in found.tags[1:]:
                await self._api.remove(tag)
            await self._api.remove(image_id)
        except EngineReplyError as error:
            if error.status == 404:
                return True
            log.info("image %s stays: %s", image_id, error.text)
            return False
        return True

    async def pull(
        self,
        reference: str,
        *,
        timeout_s: float,
        may_keep: bool,
        credentials: Credentials | None,
        progress: Callable[[str], None],
    ) -> ImageInfo:
        """Bring an image from its registry; see ``ImageHost.pull_image``."""
        name = _name(reference)
        pull = _Pull(name, timeout_s, credentials, progress)
        async with self._alone(name):
            present = await self._api.find(name) if may_keep else None
            return await self._pull_or_keep(reference, pull, present)

    @asynccontextmanager
    async def _alone(self, name: str) -> AsyncIterator[None]:
        self._users[name] += 1
        try:
            async with self._locks[name]:
                yield
        finally:
            self._users[name] -= 1
            if not self._users[name]:
                del self._users[name], self._locks[name]

    async def _pull_or_keep(self, reference: str, pull: _Pull, present: Image | None) -> ImageInfo:
        """Pull; when that fails and the image is there, keep using what is there."""
        failure: Exception
        name = pull.name
        try:
            await self._pull(pull)
            found = await self._api.find(name)
            if found is not None:
                return _describe(reference, found, is_pulled=True)
            text, failure = "it came, and is gone again", LookupError(name)
        except (PullError, EngineReplyError) as error:
            text = pull.scrub(error.text if isinstance(error, EngineReplyError) else str(error))
            failure = LookupError(text)  # the engine's own text may hold more
        except TimeoutError as error:
            text, failure = f"it took longer than {pull.timeout_s:g} s", error
        if present is not None:
            log.warning("using the image %s on the host; pulling it failed: %s", name, text)
            pull.progress(f"using {name} as it is on the host; pulling it failed: {text}")
            return _describe(reference, present)
        if isinstance(failure, TimeoutError):
            raise EngineTimeoutError(f"image {name!r} could not be pulled: {text}") from failure
        raise ImageMissingError(f"image {name!r} could not be pulled: {text}") from failure

    async def _pull(self, pull: _Pull) -> None:
        async with self._pulls:
            pull.progress(f"pulling {pull.name}")
            headers = account_header(pull.name, pull.credentials)
            with image_pull():
                lines = self._api.pull(pull.name, headers)
                async with asyncio.timeout(pull.timeout_s), aclosing(lines):
                    async for line in lines:
                        pull.progress(line)


@dataclass(frozen=True, slots=True)
class _Pull:
    """One pull: of what, for how long, as whom, and who is told."""

    name: str
    timeout_s: float
    credentials: Credentials | None
    progress: Callable[[str], None]

    def scrub(self, text: str) -> str:
        """Blank out the password, should an engine or a registry repeat it."""
        if self.credentials is None or not self.credentials.password:
            return text
        pair = f"{self.credentials.username}:{self.credentials.password}".encode()
        for secret in (self.credentials.password, base64.b64encode(pair).decode()):
            text = text.replace(secret, "***")
        return text


def _name(reference: str) -> str:
    """Spell a name for engines; content ids are left as they are."""
    return reference if is_content_id(reference) else with_tag(reference)
