"""The root file system of an actor image with Python in it, made of the Python that runs the tests.

The interpreter, the libraries it is linked with, the standard library without its tests, and
cloudpickle: what the image ``abacosamples/py3_func`` of the older system held.
"""

from __future__ import annotations

import io
import tarfile

from samples import python_root
from samples.python_root import add_libraries, add_python

__all__ = ["HOME", "add_libraries", "python_tar"]

#: variables by which the program finds its home
HOME = {"PYTHONHOME": python_root.HOME}

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
    """Add Python to a root file system; the program is ``/py/bin/python3``, its home ``/py``."""
    buffer = io.BytesIO(rootfs)
    with tarfile.open(fileobj=buffer, mode="a") as tar:
        add_python(tar, is_compiled=False)
        runner = RUNNER.encode()
        entry = tarfile.TarInfo("py/runner.py")
        entry.size = len(runner)
        tar.addfile(entry, io.BytesIO(runner))
    return buffer.getvalue()
