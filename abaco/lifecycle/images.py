"""When an image is pulled, and who may use one that is on the host. Pure rules."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from enum import Enum, auto


class Step(Enum):
    """What to do about an image."""

    #: it is here, and recent enough
    USE = auto()
    #: pull it; if that fails, what is here will do
    REFRESH = auto()
    #: pull it, or do without
    PULL = auto()
    #: it may not be pulled, and is not here
    MISSING = auto()
    #: it may not be pulled, and what is here is not for this tenant
    NOT_YOURS = auto()


@dataclass(frozen=True, slots=True)
class PullRule:
    """When a name is looked up in its registry.

    Attributes:
        word: always, if_not_present, never or max_age.
        max_age_s: With max_age, how long a pull counts.

    """

    word: str
    max_age_s: float = 0.0

    def decide(
        self,
        *,
        is_here: bool,
        may_use: bool,
        is_forced: bool,
        pulled_at: datetime | None,
        now: datetime,
    ) -> Step:
        """Say what to do for a revision whose image is not known yet.

        Args:
            is_here: An image of that name is on the host.
            may_use: This tenant may have that one.
            is_forced: Somebody asked for the registry's present one.
            pulled_at: When it was last pulled by us, if it ever was.
            now: The time.

        """
        if self.word == "never":
            if not is_here:
                return Step.MISSING
            return Step.USE if may_use else Step.NOT_YOURS
        if not is_here or not may_use:
            return Step.PULL
        if is_forced or self.word == "always":
            return Step.REFRESH
        if self.word == "max_age":
            age_s = None if pulled_at is None else (now - pulled_at).total_seconds()
            return Step.USE if age_s is not None and age_s < self.max_age_s else Step.REFRESH
        return Step.USE


def may_use(tenant: str, *, handed_to: Collection[str], everybody: str, is_guarded: bool) -> bool:
    """Tell whether a tenant may have an image that is on the host without asking the registry.

    What no registry with tenants' own accounts has, anybody may have. Of the others a registry
    must have handed it out: to this tenant, or to somebody without an account of a tenant's own.

    Args:
        tenant: Who wants it.
        handed_to: Tenants for whom a registry has handed it out.
        everybody: What stands among these for anybody.
        is_guarded: A tenant has an account of its own at a registry the image may be from.

    """
    if handed_to:
        return tenant in handed_to or everybody in handed_to
    return not is_guarded
