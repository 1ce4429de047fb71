"""Get images onto the engine's host, as the pull policy says."""

from __future__ import annotations

import asyncio
import logging
from abc import abstractmethod
from collections import defaultdict
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import Protocol

from abaco.errors import EngineTimeoutError, ImageMissingError
from abaco.metrics import image_pull
from abaco.ports.driver import ImageInfo, PullPolicy
from backends.drivers.engine_wire import EngineReplyError

log = logging.getLogger(__name__)

DOCKER_HUB = "docker.io"


class PullError(Exception):
    """A registry or the engine refused the pull; the text is the engine's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """An image as found on the host."""

    #: content id, ``sha256:...``
    id: str
    #: whether it says what to run (ENTRYPOINT or CMD)
    has_command: bool


class ImageApi(Protocol):
    """The few image calls of one engine."""

    @abstractmethod
    async def find(self, reference: str) -> Image | None:
        """Look for an image on the host, by name or id."""

    @abstractmethod
    def pull(self, reference: str) -> AsyncGenerator[str, None]:
        """Pull, giving lines about the progress. Raises PullError, EngineReplyError."""


def with_tag(reference: str) -> str:
    """Add ``:latest`` to a name that has neither tag nor digest."""
    if "@" in reference or ":" in reference.rpartition("/")[2]:
        return reference
    return f"{reference}:latest"


def with_registry(reference: str) -> str:
    """Spell out the registry as Docker understands a short name."""
    host, slash, _ = reference.partition("/")
    if slash and ("." in host or ":" in host or host == "localhost"):
        return reference
    return f"{DOCKER_HUB}/{reference}" if slash else f"{DOCKER_HUB}/library/{reference}"


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

    async def find(self, reference: str) -> Image | None:
        """Look for an image on the host."""
        return await self._api.find(reference)

    async def ensure(
        self,
        reference: str,
        policy: PullPolicy,
        *,
        timeout_s: float,
        progress: Callable[[str], None],
    ) -> ImageInfo:
        """Make sure the image is there; see ``Driver.ensure_image``."""
        name = with_tag(reference)
        async with self._alone(name):
            found = await self._api.find(name)
            if policy is PullPolicy.ALWAYS or (found is None and policy is not PullPolicy.NEVER):
                found = await self._pull_or_keep(name, found, timeout_s, progress)
        if found is None:
            raise ImageMissingError(
                f"image {reference!r} is not on the engine's host, and was not pulled because"
                " the pull policy is 'never'"
            )
        return ImageInfo(reference=reference, id=found.id)

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

    async def _pull_or_keep(
        self, name: str, present: Image | None, timeout_s: float, progress: Callable[[str], None]
    ) -> Image:
        """Pull; when that fails and the image is there, keep using what is there."""
        failure: Exception
        try:
            await self._pull(name, timeout_s, progress)
            found = await self._api.find(name)
            if found is not None:
                return found
            text, failure = "it came, and is gone again", LookupError(name)
        except (PullError, EngineReplyError) as error:
            text = error.text if isinstance(error, EngineReplyError) else str(error)
            failure = error
        except TimeoutError as error:
            text, failure = f"it took longer than {timeout_s:g} s", error
        if present is not None:
            log.warning("using the image %s on the host; pulling it failed: %s", name, text)
            progress(f"using {name} as it is on the host; pulling it failed: {text}")
            return present
        if isinstance(failure, TimeoutError):
            raise EngineTimeoutError(f"image {name!r} could not be pulled: {text}") from failure
        raise ImageMissingError(
            f"image {name!r} is not on the engine's host and could not be pulled: {text}"
        ) from failure

    async def _pull(self, name: str, timeout_s: float, progress: Callable[[str], None]) -> None:
        async with self._pulls:
            progress(f"pulling {name}")
            with image_pull():
                async with asyncio.timeout(timeout_s), aclosing(self._api.pull(name)) as lines:
                    async for line in lines:
                        progress(line)
