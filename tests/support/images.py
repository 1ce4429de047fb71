"""Actor images made of nothing but a static busybox, so that no registry is needed."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

#: applets that are there by name
APPLETS = """
    cat chmod date dd echo env expr false grep head id kill ls printf sed seq sh sleep tail test
    timeout touch tr true uname wc wget yes
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageConfig:
    """What an image says about running it."""

    cmd: tuple[str, ...] = ()
    entrypoint: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    user: str = ""
    workdir: str = ""

    def changes(self) -> list[str]:
        """Spell it as Dockerfile instructions, for an engine's import call."""
        lines = [f"ENV {name}={json.dumps(value)}" for name, value in self.env.items()]
        if self.cmd:
            lines.append(f"CMD {json.dumps(self.cmd)}")
        if self.entrypoint:
            lines.append(f"ENTRYPOINT {json.dumps(self.entrypoint)}")
        if self.user:
            lines.append(f"USER {self.user}")
        if self.workdir:
            lines.append(f"WORKDIR {self.workdir}")
        return lines


def shell(script: str, **config: Any) -> ImageConfig:
    """Return the config of an image that runs a shell script."""
    return ImageConfig(cmd=("sh", "-c", script), **config)


#: where Python is, in the root file system that has it
_PYTHON = "/py/bin/python3"
_PYTHON_HOME = {"PYTHONHOME": "/py"}

PYTHON_ACTOR = "abacosamples/py3_func"

#: images on the root file system with Python
PYTHON_ACTORS = (PYTHON_ACTOR, "abaco_test_python", "abaco_test_pyuser")

# Not by ``env``: the shell drops names with a hyphen. Not as the last command: the shell would
# become it, and have no environment of its own any more.
_ECHO = (
    'echo "Contents of MSG: $MSG"; {}echo Environment:; tr "\\0" "\\n" < /proc/$$/environ; {}true'
)

#: what the older system's functional suite calls its test image
_TEST = shell(_ECHO.format("sleep 2; ", "ls /; "))

_SLEEP_LOOP = r"""
number() { echo "$MSG" | sed -n "s/.*'$1': *\([0-9]*\).*/\1/p"; }
nap=$(number sleep); rounds=$(number iterations)
for round in $(seq "${rounds:-6}"); do echo "round $round"; sleep "${nap:-10}"; done
"""

#: variables of an image that everybody else may set otherwise, or nobody
INHERITED = {"IMAGE_ONLY": "image", "IMAGE_DEFAULT": "image", "IMAGE_QUERY": "image"}

#: The actor images of the end-to-end tests, by name. Most are shell only.
ACTORS: Mapping[str, ImageConfig] = {
    # a pickled function call in, its pickled value out
    PYTHON_ACTOR: ImageConfig(cmd=(_PYTHON, "/py/runner.py"), env=_PYTHON_HOME),
    # runs the variable SCRIPT, whatever the message is; the second one as somebody
    "abaco_test_python": shell('exec /py/bin/python3 -c "$SCRIPT"', env=_PYTHON_HOME),
    "abaco_test_pyuser": shell(
        'exec /py/bin/python3 -c "$SCRIPT"', env=_PYTHON_HOME, user="1234:5678"
    ),
    "abaco_test_echo": shell(_ECHO.format("", "")),
    # has variables of its own, some with names that are the server's
    "abaco_test_inherit": shell(
        _ECHO.format("", ""),
        env={**INHERITED, "_abaco_actor_id": "image", "_actor_configs": "image"},
    ),
    "abaco_test": _TEST,
    "abaco_test2": _TEST,
    "abacosamples/test": _TEST,
    "abacosamples/sleep_loop": shell(_SLEEP_LOOP),
    # adds one to the actor's state, through the API, as a program of a user would
    "abaco_test_counter": shell(
        'n=$_abaco_actor_state; [ "$n" = "{}" ] && n=0; echo "message $MSG found $n";'
        " wget -q -O /dev/null --post-data $((n + 1))"
        " --header 'Content-Type: application/json'"
        ' "$_abaco_api_server/actors/v2/$_abaco_actor_id/state"'
    ),
    # sleeps MSG seconds, ends at once when asked to
    "abaco_test_sleeper": shell('echo sleeping; sleep "${MSG:-3600}"; echo awake'),
    "abaco_test_stubborn": shell("trap '' TERM; echo sleeping; while :; do sleep 1; done"),
    "abaco_test_fail": shell('echo failing >&2; exit "${MSG:-3}"'),
    "abaco_test_oom": shell("echo eating; exec tail /dev/zero"),
    # prints MSG lines
    "abaco_test_spew": shell('seq "${MSG:-10000}"'),
    # runs its message as a script
    "abaco_test_shell": shell('eval "$MSG"'),
    "abaco_test_other": shell("echo another image"),
    "abaco_test_nocommand": ImageConfig(),
    "abaco_test_notfound": ImageConfig(cmd=("/no/such/program",)),
    "abaco_test_baduser": ImageConfig(cmd=("true",), user="nobody-here"),
    "abaco_test_user": shell("id -u; id -g", user="1234:5678"),
    "abaco_test_entrypoint": ImageConfig(
        entrypoint=("sh", "-c", 'echo "$0 $1 in $PWD with $GREETING"'),
        cmd=("one", "two"),
        env={"GREETING": "hello", "MSG": "from the image"},
        workdir="/tmp",
    ),
}


def find_busybox() -> Path | None:
    """Find a static busybox (Debian: busybox-static), which needs no libraries."""
    found = shutil.which("busybox", path="/bin:/usr/bin:/usr/local/bin")
    if found is None or b"/ld-linux" in Path(found).read_bytes():
        return None
    return Path(found)


def rootfs_tar() -> bytes:
    """Build the tar of a root file system."""
    busybox = find_busybox()
    if busybox is None:
        raise FileNotFoundError(
            "no static busybox on this host (Debian: apt install busybox-static)"
        )
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name in ("bin", "tmp", "etc", "var", "dev", "proc", "sys"):
            tar.addfile(_entry(name, tarfile.DIRTYPE, 0o1777 if name == "tmp" else 0o755))
        program = busybox.read_bytes()
        entry = _entry("bin/busybox", tarfile.REGTYPE, 0o755)
        entry.size = len(program)
        tar.addfile(entry, io.BytesIO(program))
        for applet in APPLETS.split():
            link = _entry(f"bin/{applet}", tarfile.SYMTYPE, 0o777)
            link.linkname = "busybox"
            tar.addfile(link)
        text = b"root:x:0:0:root:/:/bin/sh\n"
        passwd = _entry("etc/passwd", tarfile.REGTYPE, 0o644)
        passwd.size = len(text)
        tar.addfile(passwd, io.BytesIO(text))
    return buffer.getvalue()


def _entry(name: str, kind: bytes, mode: int) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.type = kind
    entry.mode = mode
    return entry


@dataclass(frozen=True, slots=True, kw_only=True)
class Blob:
    """A piece of an image as registries keep them."""

    media_type: str
    data: bytes

    @property
    def digest(self) -> str:
        """The content id."""
        return f"sha256:{hashlib.sha256(self.data).hexdigest()}"

    def descriptor(self) -> dict[str, object]:
        """Refer to it from a manifest."""
        return {"mediaType": self.media_type, "digest": self.digest, "size": len(self.data)}


def registry_image(layer: bytes, config: ImageConfig) -> tuple[Blob, list[Blob]]:
    """Make an image as registries serve it: its manifest, and the blobs that names."""
    kind = "application/vnd.docker"
    rootfs = Blob(media_type=f"{kind}.image.rootfs.diff.tar", data=layer)
    about = Blob(
        media_type=f"{kind}.container.image.v1+json",
        data=json.dumps(
            {
                "architecture": "amd64",
                "os": "linux",
                "config": {"Cmd": list(config.cmd)},
                "rootfs": {"type": "layers", "diff_ids": [rootfs.digest]},
                "history": [{"created_by": "test"}],
            }
        ).encode(),
    )
    manifest = Blob(
        media_type=f"{kind}.distribution.manifest.v2+json",
        data=json.dumps(
            {
                "schemaVersion": 2,
                "mediaType": f"{kind}.distribution.manifest.v2+json",
                "config": about.descriptor(),
                "layers": [rootfs.descriptor()],
            }
        ).encode(),
    )
    return manifest, [rootfs, about]
