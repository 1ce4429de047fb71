"""Replace the key that secrets are encrypted with, while everything goes on.

A fresh key stands before the others, in the file too, and encrypts from then on; all still
decrypt. Secrets are encrypted anew one by one, each by compare-and-set, and only when nothing needs
them are the others dropped. So at any moment, and after a crash at any moment, every secret can be
read; what a crash leaves is finished after the next start.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace

from abaco.errors import BackendError, StoreUnavailableError, VaultError
from abaco.ports.store import Stores
from abaco.ports.vault import KeyRing, Sealed, SealedStore

_log = logging.getLogger(__name__)

#: secrets read at once
_PAGE = 50
#: seconds before another try when the store does not answer
RETRY_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RotationReport:
    """How far the present rotation is, or how far the last one came.

    Attributes:
        is_running: Whether it goes on.
        reencrypted: Secrets that were encrypted anew.
        unreadable: Secrets that no key opens. They are left as they are.
        old_keys: Keys that still decrypt and are to be dropped.
        failure: Why it ended before its end; empty when it did not.

    """

    is_running: bool = False
    reencrypted: int = 0
    unreadable: int = 0
    old_keys: int = 0
    failure: str = ""


class Rotation:
    """One at a time. ``run`` is the agent that does the work.

    Args:
        stores: What keeps ciphertexts.
        vault: The keys.
        settle_s: Seconds after which a ciphertext that was made is stored, or never will be.

    """

    def __init__(self, stores: Stores, vault: KeyRing, *, settle_s: float) -> None:
        self._stores = stores
        self._vault = vault
        self._settle_s = settle_s
        self._wanted = asyncio.Event()
        #: held while keys are added, and from the first look at a secret to the last
        self._lock = asyncio.Lock()
        self._report = RotationReport()

    def report(self) -> RotationReport:
        """Tell how it stands."""
        is_running = self._wanted.is_set() or self._lock.locked()
        old_keys = self._vault.count_old_keys()
        return replace(self._report, is_running=is_running, old_keys=old_keys)

    async def begin(self) -> None:
        """Put a fresh key before the others; ``run`` does the rest.

        Joins the rotation that is under way, if one is.

        Raises:
            VaultError: The key cannot be written down. Nothing has changed.

        """
        if self._wanted.is_set() or self._lock.locked():
            return
        async with self._lock:
            await self._vault.add_key()
            self._report = RotationReport()
            self._wanted.set()
        _log.info("a new key encrypts secrets from now on")

    async def run(self) -> None:
        """Do what is begun, now and after a start, until cancelled."""
        if self._vault.has_other_keys():  # a rotation was cut off, or somebody added a key
            self._wanted.set()
        while True:
            await self._wanted.wait()
            async with self._lock:
                self._wanted.clear()
                self._report = RotationReport()
                await self._rotate()

    async def _rotate(self) -> None:
        while True:
            try:
                await self._reencrypt()
                if self._vault.count_old_keys():
                    # what was encrypted before the new key came may be on its way to the store
                    await asyncio.sleep(self._settle_s)
                    await self._reencrypt()
                    dropped = await self._vault.drop_old_keys()
                    _log.info("dropped %d old keys, nothing needs them any more", dropped)
            except StoreUnavailableError as error:
                _log.warning("the rotation of keys waits for the store: %s", error)
                await asyncio.sleep(RETRY_S)
            except BackendError as error:
                self._report = replace(self._report, failure=error.message)
                _log.warning("the rotation of keys ended, old keys stay: %s", error)
                return
            else:
                return

    async def _reencrypt(self) -> None:
        """Go through all secrets once."""
        self._report = replace(self._report, unreadable=0)
        for store in self._stores.sealed:
            async for sealed in _iter_sealed(store):
                if not self._vault.is_current(sealed.ciphertext):
                    await self._reseal(store, sealed)
                await asyncio.sleep(0)  # the loop is not ours for all of them

    async def _reseal(self, store: SealedStore, sealed: Sealed) -> None:
        try:
            text = self._vault.decrypt(sealed.ciphertext)
        except VaultError:
            self._report = replace(self._report, unreadable=self._report.unreadable + 1)
            return
        # when it was changed meanwhile, it was encrypted with the new key
        if await store.reseal(sealed, self._vault.encrypt(text)):
            self._report = replace(self._report, reencrypted=self._report.reencrypted + 1)


async def _iter_sealed(store: SealedStore) -> AsyncIterator[Sealed]:
    after: str | None = None
    while page := await store.list_sealed(after=after, limit=_PAGE):
        for sealed in page:
            yield sealed
        after = page[-1].place
