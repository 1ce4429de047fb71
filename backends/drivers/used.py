"""What a container has used, as it is reported."""

from __future__ import annotations

from dataclasses import dataclass

from backends.drivers.cgroups import Counts
from backends.drivers.traffic import Traffic


@dataclass(frozen=True, slots=True, kw_only=True)
class Used:
    """What a container has used; 0 is also what is not known."""

    cpu_ns: int = 0
    io_bytes: int = 0
    memory_peak_bytes: int = 0
    net_rx_bytes: int = 0
    net_tx_bytes: int = 0
    blk_read_bytes: int = 0
    blk_write_bytes: int = 0
    oom_kills: int = 0


def sum_up(seen: Counts, own: Counts, traffic: Traffic) -> Used:
    """Choose between what was seen of a container at its end and what its group of ours says."""

    def best(name: str) -> int:
        ours = getattr(own, name)
        return int(ours if ours is not None else getattr(seen, name) or 0)

    return Used(
        cpu_ns=best("cpu_ns"),
        io_bytes=traffic.rx_bytes,
        memory_peak_bytes=best("memory_peak_bytes"),
        net_rx_bytes=traffic.rx_bytes,
        net_tx_bytes=traffic.tx_bytes,
        blk_read_bytes=best("blk_read_bytes"),
        blk_write_bytes=best("blk_write_bytes"),
        # version 1 counts a kill in the container's own group, version 2 in all above it too
        oom_kills=max(seen.oom_kills or 0, own.oom_kills or 0),
    )
