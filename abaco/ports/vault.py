"""The contract of what keeps secrets unreadable at rest.

Whoever stores a ciphertext must also be found by a rotation of the keys: its store fulfils
``SealedStore`` and stands in ``Stores.sealed``.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import NamedTuple, Protocol


class Vault(Protocol):
    """Turns small texts into ciphertexts and back. Pure computation; nothing waits."""

    @abstractmethod
    def encrypt(self, text: str) -> str:
        """Return a printable ciphertext; each call another one.

        Store it at once: a key that is replaced is dropped when what it encrypted has had time
        to be written and was encrypted anew.
        """

    @abstractmethod
    def decrypt(self, ciphertext: str) -> str:
        """Return the text. Raises VaultError when it was made with none of the keys."""

    @abstractmethod
    def is_current(self, ciphertext: str) -> bool:
        """Tell whether it was made with the key that encrypts now."""


class KeyRing(Vault, Protocol):
    """A vault whose keys can be replaced. The first encrypts, all decrypt.

    The two that change it raise VaultError when the new keys cannot be written down; the
    present ones hold then. They survive a crash at any point, and are never half written.
    """

    @abstractmethod
    def count_old_keys(self) -> int:
        """Return how many keys decrypt only and could be dropped."""

    @abstractmethod
    def has_other_keys(self) -> bool:
        """Tell whether anything but the key that encrypts decrypts too, dropped or not."""

    @abstractmethod
    async def add_key(self) -> None:
        """Make a key that encrypts from now on; it is durable before it is used."""

    @abstractmethod
    async def drop_old_keys(self) -> int:
        """Forget the keys that ``count_old_keys`` counts; return how many there were.

        What they encrypted can never be read again.
        """


class Sealed(NamedTuple):
    """A ciphertext and where it stands; ``place`` means something to its store only."""

    place: str
    ciphertext: str


class SealedStore(Protocol):
    """A store that keeps ciphertexts."""

    @abstractmethod
    async def list_sealed(self, *, after: str | None = None, limit: int = 100) -> list[Sealed]:
        """Page all ciphertexts by ``place``, those that come after ``after``."""

    @abstractmethod
    async def reseal(self, present: Sealed, ciphertext: str) -> bool:
        """Replace a ciphertext if it is still the present one; False when it is not."""
