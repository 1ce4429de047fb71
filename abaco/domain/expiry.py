"""How long things are kept."""

from __future__ import annotations

#: written for "keep for ever"
KEEP = -1


def log_lifetime_s(actor_log_ex: int | None, default: int, cap: int) -> int | None:
    """Decide how long an execution's log is kept.

    Args:
        actor_log_ex: What the actor asks for; None when it says nothing.
        default: What the configuration says then. The cap does not apply to it.
        cap: Most that an actor gets. -1 means for ever in all three.

    Returns:
        Seconds from the last write on, or None to keep the log for ever.

    """
    if actor_log_ex is None:
        wanted = default
    elif KEEP in (actor_log_ex, cap):
        # one of the two sets no bound, so the other decides
        wanted = max(actor_log_ex, cap)
    else:
        wanted = min(actor_log_ex, cap)
    return None if wanted == KEEP else wanted
