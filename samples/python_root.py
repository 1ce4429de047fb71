"""Write the root file system of a sample in Python as a tar: python_root.py BUSYBOX SAMPLE > TAR.

No registry is needed: the image holds the Python that runs this program, the libraries it is linked
with, the standard library without its tests, cloudpickle if it is installed here, and in /app what
the sample's directory has in Python, with Abaco's own actors.py and calls.py.
"""

from __future__ import annotations

import importlib.util
import io
import re
import subprocess
import sys
import sysconfig
import tarfile
from collections.abc import Iterable
from pathlib import Path
from typing import IO

#: where Python is, and what it must be told of it
HOME = "/py"
PROGRAM = f"{HOME}/bin/python3"
APP = "/app"

SAMPLES = Path(__file__).resolve().parent
#: what each sample is given from the package
COPIED = tuple(SAMPLES.parent / "abaco" / name for name in ("actors.py", "calls.py"))

#: of the standard library, what no actor needs
_LEFT_OUT = frozenset(
    {"test", "tests", "idlelib", "ensurepip", "site-packages", "turtledemo", "lib2to3", "tkinter",
     "pydoc_data"}
)  # fmt: skip
_APPLETS = ("sh", "echo", "env", "cat", "ls", "sleep", "wget")


def add_python(tar: tarfile.TarFile, *, is_compiled: bool = True) -> None:
    """Add the interpreter and its libraries.

    Args:
        tar: Where to.
        is_compiled: Whether what Python compiled for itself comes along; it starts faster then.

    """
    program = Path(sys._base_executable).resolve()  # type: ignore[attr-defined]
    library = Path(sysconfig.get_path("stdlib"))
    dynamic = library / "lib-dynload"
    tar.add(program, PROGRAM.lstrip("/"))
    modules = sorted(set(dynamic.glob("*.so")) - set(dynamic.glob("_tk*")))
    add_libraries(tar, [program, *modules])

    def wanted(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
        parts = Path(entry.name).parts
        is_unwanted = _LEFT_OUT & set(parts) or any(part.startswith("config-") for part in parts)
        is_cache = "__pycache__" in parts and (not is_compiled or ".opt-" in parts[-1])
        return None if is_unwanted or is_cache else entry

    home = f"{HOME}/lib/{library.name}".lstrip("/")
    tar.add(library, home, filter=wanted)
    for package in _packages("cloudpickle"):
        tar.add(package, f"{home}/{package.name}", filter=wanted)


def add_libraries(tar: tarfile.TarFile, files: Iterable[Path]) -> None:
    """Add what the dynamic linker would load for programs and modules, where it looks for it."""
    command = ["ldd", *map(str, files)]
    # it also fails for what is linked with nothing
    listed = subprocess.run(command, check=False, capture_output=True, text=True)  # noqa: S603
    there = set(tar.getnames())
    for text in sorted(set(re.findall(r"(?:=> )?(/\S+) \(0x", listed.stdout))):
        if text.lstrip("/") not in there:
            tar.add(Path(text).resolve(), text.lstrip("/"))


def sample_tar(busybox: Path, sample: str) -> bytes:
    """Build a sample's root file system."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name in ("bin", "tmp", "dev", "proc", "sys"):
            _add(tar, name, tarfile.DIRTYPE, 0o1777 if name == "tmp" else 0o755)
        _add_file(tar, "bin/busybox", busybox, 0o755)
        for applet in _APPLETS:
            _add(tar, f"bin/{applet}", tarfile.SYMTYPE, 0o777, linkname="busybox")
        add_python(tar)
        for file in (*sorted((SAMPLES / sample).glob("*.py")), *COPIED):
            _add_file(tar, f"{APP}/{file.name}".lstrip("/"), file, 0o644)
    return buffer.getvalue()


def _packages(*names: str) -> list[Path]:
    specs = [importlib.util.find_spec(name) for name in names]
    return [Path(spec.origin).parent for spec in specs if spec is not None and spec.origin]


def _add_file(tar: tarfile.TarFile, name: str, file: Path, mode: int) -> None:
    data = file.read_bytes()
    _add(tar, name, tarfile.REGTYPE, mode, content=io.BytesIO(data), size=len(data))


def _add(
    tar: tarfile.TarFile,
    name: str,
    kind: bytes,
    mode: int,
    *,
    linkname: str = "",
    content: IO[bytes] | None = None,
    size: int = 0,
) -> None:
    entry = tarfile.TarInfo(name)
    entry.type, entry.mode, entry.linkname, entry.size = kind, mode, linkname, size
    tar.addfile(entry, content)


if __name__ == "__main__":
    busybox, sample = sys.argv[1:]
    sys.stdout.buffer.write(sample_tar(Path(busybox), sample))
