"""``abaco`` that is killed when it has accepted a message and nobody has heard of it yet.

Run in place of ``python -m abaco`` with the same arguments, on the sqlite store.
"""

from __future__ import annotations

import os
import signal
from typing import Any

from abaco.cli.main import main
from backends.stores.sqlite.intake import SqliteIntake

_submit = SqliteIntake.submit


async def _submit_and_die(intake: SqliteIntake, *args: Any, **named: Any) -> None:
    await _submit(intake, *args, **named)
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    SqliteIntake.submit = _submit_and_die  # type: ignore[method-assign, assignment]
    main()
