"""``abaco`` that sweeps every half second what it otherwise sweeps once a minute.

Run in place of ``python -m abaco`` with the same arguments.
"""

from __future__ import annotations

from abaco.cli.main import main
from agents import clientg

if __name__ == "__main__":
    clientg.SWEEP_INTERVAL_S = 0.5
    main()
