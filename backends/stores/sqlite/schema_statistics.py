"""What executions used, beyond what version 1 kept."""

from __future__ import annotations

from collections.abc import Sequence

STATISTICS: Sequence[str] = tuple(
    f"ALTER TABLE executions ADD COLUMN {name} INTEGER NOT NULL DEFAULT 0"
    for name in ("memory_peak_bytes", "net_rx", "net_tx", "blk_read", "blk_write")
)
