"""Images of the samples in Python, made by the program that makes them for users."""

from __future__ import annotations

import functools

from samples.python_root import APP, HOME, PROGRAM, sample_tar
from tests.support.engines import Engine
from tests.support.images import ImageConfig, find_busybox


def load_sample(engine: Engine, sample: str) -> str:
    """Give an engine a sample's image; return its name."""
    name = f"abaco/{sample}"
    engine.import_image(
        name,
        _tar(sample),
        ImageConfig(
            cmd=(PROGRAM, f"{APP}/{sample}.py"),
            env={"PATH": f"/bin:{HOME}/bin", "PYTHONHOME": HOME, "PYTHONUNBUFFERED": "1"},
        ),
    )
    return name


@functools.cache
def _tar(sample: str) -> bytes:
    busybox = find_busybox()
    assert busybox is not None
    return sample_tar(busybox, sample)
