"""An actor image with the published SDK of the older Abaco in it, exactly as it was published."""

from __future__ import annotations

import io
import sysconfig
import tarfile
from collections.abc import Iterator
from importlib.metadata import Distribution, distribution
from pathlib import Path

from packaging.requirements import Requirement

from tests.support.images import ImageConfig, rootfs_tar
from tests.support.python_image import HOME, add_libraries, python_tar

#: the distribution, and what of its requirements nothing in it imports
SDK = "agavepy"
_UNUSED = frozenset({"pytest"})

IMAGE = "abaco_test_agavepy"

#: what the library under the SDK trusts, whatever the environment says
CERTIFI = f"/py/lib/{Path(sysconfig.get_path('stdlib')).name}/site-packages/certifi/cacert.pem"

#: runs the variable SCRIPT, whatever the message is; not by a shell, which would drop the variable
#: with a hyphen that the SDK reads
CONFIG = ImageConfig(
    cmd=("/py/bin/python3", "-c", "import os; exec(os.environ['SCRIPT'])"), env=HOME
)


def agave_tar() -> bytes:
    """Build the root file system: the Python that runs the tests, the SDK, and what it needs."""
    buffer = io.BytesIO(python_tar(rootfs_tar()))
    packages = Path(sysconfig.get_path("purelib"))
    release = Path(sysconfig.get_path("stdlib")).name
    modules = list((Path(sysconfig.get_path("stdlib")) / "lib-dynload").glob("*.so"))
    with tarfile.open(fileobj=buffer, mode="a") as tar:
        for path in _files(packages):
            tar.add(path, f"py/lib/{release}/site-packages/{path.relative_to(packages)}")
            if path.suffix == ".so":
                modules.append(path)
        add_libraries(tar, modules)
    return buffer.getvalue()


def _files(packages: Path) -> Iterator[Path]:
    """Yield the files of the SDK and of all it needs, programs and bytecode left out."""
    for found in _needed(SDK, set()):
        for entry in found.files or ():
            path = Path(str(found.locate_file(entry)))
            if path.is_relative_to(packages) and ".." not in path.parts and path.suffix != ".pyc":
                yield path


def _needed(name: str, seen: set[str]) -> Iterator[Distribution]:
    if name in seen or name in _UNUSED:
        return
    seen.add(name)
    found = distribution(name)
    yield found
    for text in found.requires or ():
        requirement = Requirement(text)
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            yield from _needed(requirement.name.lower(), seen)
