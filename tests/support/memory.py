"""Watches the resident memory of another process."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

#: seconds between two looks
INTERVAL_S = 0.02


class Memory:
    """The resident memory of a process, in kB, and the most it was while watched."""

    def __init__(self, pid: int) -> None:
        self._status = Path(f"/proc/{pid}/status")
        self._is_over = threading.Event()
        self.before_kb = self.peak_kb = self.now_kb()

    def now_kb(self) -> int:
        found = re.search(r"VmRSS:\s+(\d+) kB", self._status.read_text())
        assert found is not None
        return int(found[1])

    @property
    def grown_mb(self) -> float:
        """By how much it grew at most while watched last."""
        return (self.peak_kb - self.before_kb) / 1024

    @contextmanager
    def watched(self) -> Iterator[None]:
        self.before_kb = self.peak_kb = self.now_kb()
        self._is_over.clear()
        thread = threading.Thread(target=self._watch)
        thread.start()
        try:
            yield
        finally:
            self._is_over.set()
            thread.join()

    def _watch(self) -> None:
        while not self._is_over.wait(INTERVAL_S):
            self.peak_kb = max(self.peak_kb, self.now_kb())
