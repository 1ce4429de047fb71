"""The root file system of an actor image with Python in it, made of the Python that runs the tests.

The interpreter, the libraries it is linked with, the standard library without its tests, and
cloudpickle: what the image ``abacosamples/py3_func`` of the older system held.
"""

from __future__ import annotations

import io
import re
import subprocess
import sys
import sysconfig
import tarfile
from collections.abc import Iterable
from pathlib import Path

import cloudpickle

#: variables by which the program finds its home
HOME = {"PYTHONHOME": "/py"}

#: of the standard library, what no actor needs
_LEFT_OUT = frozenset(
    {"test", "tests", "idlelib", "ensurepip", "site-packages", "__pycache__", "turtledemo",
     "lib2to3", "tkinter", "pydoc_data"}
)  # fmt: skip

#: reads a pickled call from the message, hands back the pickled value
RUNNER = """
import os, socket, cloudpickle
with open("/_abaco_binary_data", "rb") as message:
    call = cloudpickle.loads(message.read())
value = call["func"](*call["args"], **call["kwargs"])
with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as results:
    results.connect("/_abaco_results.sock")
    results.send(cloudpickle.dumps(value))
"""


def python_tar(rootfs: bytes) -> bytes:
    """Add Python to a root file system; the program is ``/usr/bin/python3``, its home ``/py``."""
    buffer = io.BytesIO(rootfs)
    with tarfile.open(fileobj=buffer, mode="a") as tar:
        program = Path(sys._base_executable).resolve()  # type: ignore[attr-defined]
        tar.add(program, "py/bin/python3")
        add_libraries(tar, [program])
        release = f"python{sys.version_info.major}.{sys.version_info.minor}"
        tar.add(sysconfig.get_path("stdlib"), f"py/lib/{release}", filter=_wanted)
        tar.add(Path(cloudpickle.__file__).parent, f"py/lib/{release}/cloudpickle", filter=_wanted)
        runner = RUNNER.encode()
        entry = tarfile.TarInfo("py/runner.py")
        entry.size = len(runner)
        tar.addfile(entry, io.BytesIO(runner))
    return buffer.getvalue()


def add_libraries(tar: tarfile.TarFile, files: Iterable[Path]) -> None:
    """Add what the dynamic linker would load for programs and modules, where it looks for it."""
    command = ["ldd", *map(str, files)]
    listed = subprocess.run(command, check=True, capture_output=True, text=True)
    there = set(tar.getnames())
    for text in sorted(set(re.findall(r"(?:=> )?(/\S+) \(0x", listed.stdout))):
        if text.lstrip("/") not in there:
            tar.add(Path(text).resolve(), text.lstrip("/"))


def _wanted(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
    parts = Path(entry.name).parts
    is_unwanted = _LEFT_OUT & set(parts) or any(part.startswith("config-") for part in parts)
    return None if is_unwanted else entry
