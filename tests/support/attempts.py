"""What a hostile actor tries, as Python programs that run in its container.

To add one: a name, the program, and the lines it must print. A program tries one thing after the
other with ``attempt``, which prints a name and what came of it: ``refused`` and the error's name,
or ``GOT`` and what was gained. ``kernel`` makes a call of the C library.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

#: before every program
PRELUDE = """
import ctypes, errno, os, socket, stat, sys
_libc = ctypes.CDLL(None, use_errno=True)
def kernel(name, *arguments):
    ctypes.set_errno(0)
    given = [a.encode() if isinstance(a, str) else a for a in arguments]
    result = getattr(_libc, name)(*given)
    if result == -1:
        raise OSError(ctypes.get_errno(), name)
    return result
def attempt(name, call, *arguments):
    try:
        gained = call(*arguments)
    except OSError as error:
        print(name, "refused", errno.errorcode[error.errno], flush=True)
    else:
        print(name, "GOT", gained, flush=True)
def write(path, text="1"):
    with open(path, "w") as file:
        return file.write(text)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Try:
    """One row.

    Attributes:
        program: What runs, as root unless the fields say otherwise.
        refused: Names of the attempts; every one must be refused, and no other may be made.
        shows: Lines that must be there besides.
        fields: What the actor is registered with, beyond its image.

    """

    program: str
    refused: tuple[str, ...] = ()
    shows: tuple[str, ...] = ()
    fields: Mapping[str, Any] = field(default_factory=dict)

    def check(self, log: str) -> None:
        """See that everything was refused that should be."""
        lines = log.splitlines()
        assert not [line for line in lines if " GOT " in line], log
        assert [line.split()[0] for line in lines if " refused " in line] == [*self.refused], log
        for line in self.shows:
            assert line in lines, log


def each(*names: str) -> tuple[str, ...]:
    """Name attempts."""
    return names


ATTEMPTS: Mapping[str, Try] = {
    "a setuid program": Try(
        program="""
import shutil
shutil.copy("/py/bin/python3", "/tmp/root-shell")
os.chmod("/tmp/root-shell", 0o4755)
print("setuid", bool(os.stat("/tmp/root-shell").st_mode & stat.S_ISUID), flush=True)
if not os.fork():
    os.setgroups([]); os.setgid(1234); os.setuid(1234)
    os.execv("/tmp/root-shell", ["python", "-c", "import os; print('is', os.geteuid())"])
os.wait()
""",
        shows=("setuid True", "is 1234"),
    ),
    "going back to root": Try(
        program="""
os.setgroups([]); os.setresgid(1234, 1234, 1234); os.setresuid(1234, 1234, 1234)
attempt("setuid", os.setuid, 0)
attempt("setgid", os.setgid, 0)
attempt("chown", os.chown, "/tmp", 1234, 1234)
attempt("shadow", write, "/etc/passwd", "root::0:0::/:/bin/sh")
""",
        refused=each("setuid", "setgid", "chown", "shadow"),
    ),
    "raw sockets": Try(
        program="""
attempt("icmp", socket.socket, socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
attempt("ip6", socket.socket, socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
attempt("packet", socket.socket, socket.AF_PACKET, socket.SOCK_RAW, 3)
""",
        refused=each("icmp", "ip6", "packet"),
    ),
    "devices of the host": Try(
        program="""
attempt("disk", os.mknod, "/tmp/disk", stat.S_IFBLK | 0o600, os.makedev(8, 0))
attempt("memory", os.mknod, "/tmp/mem", stat.S_IFCHR | 0o600, os.makedev(1, 1))
for name in ("mem", "kmsg", "port", "sda", "vda", "nvme0n1", "loop0", "fuse", "kvm"):
    attempt(name, os.open, "/dev/" + name, os.O_RDONLY)
attempt("ioperm", kernel, "ioperm", 0, 1, 1)
attempt("iopl", kernel, "iopl", 3)
""",
        refused=each(
            "disk", "memory", "mem", "kmsg", "port", "sda", "vda", "nvme0n1", "loop0", "fuse",
            "kvm", "ioperm", "iopl",
        ),
    ),
    "mounts": Try(
        program="""
os.mkdir("/tmp/there")
attempt("tmpfs", kernel, "mount", "none", "/tmp/there", "tmpfs", 0, None)
attempt("proc", kernel, "mount", "none", "/tmp/there", "proc", 0, None)
attempt("bind", kernel, "mount", "/proc", "/tmp/there", None, 4096, None)
attempt("writable", kernel, "mount", None, "/sys/fs/cgroup", None, 32, None)
attempt("umount", kernel, "umount2", "/proc", 2)
""",
        refused=each("tmpfs", "proc", "bind", "writable", "umount"),
    ),
    "another root": Try(
        program="""
os.makedirs("/tmp/new/old")
attempt("chroot", os.chroot, "/tmp/new")
attempt("pivot_root", kernel, "syscall", 155, "/tmp/new", "/tmp/new/old")
""",
        refused=each("chroot", "pivot_root"),
    ),
    "namespaces of the host": Try(
        program="""
for name, flag in (("mount", 0x20000), ("pid", 0x20000000), ("net", 0x40000000)):
    attempt(name, kernel, "unshare", flag)
for name in ("pid", "net", "mnt"):
    with open("/proc/1/ns/" + name) as own:
        attempt("setns-" + name, kernel, "setns", own.fileno(), 0)
attempt("hostname", socket.sethostname, "elsewhere")
""",
        refused=each("mount", "pid", "net", "setns-pid", "setns-net", "setns-mnt", "hostname"),
    ),
    "the kernel itself": Try(
        program="""
attempt("init_module", kernel, "syscall", 175, b"x", 1, b"")
attempt("finit_module", kernel, "syscall", 313, 0, b"", 0)
attempt("delete_module", kernel, "syscall", 176, b"overlay", 0)
attempt("kexec", kernel, "syscall", 246, 0, 0, None, 0)
attempt("bpf", kernel, "syscall", 321, 0, ctypes.create_string_buffer(128), 128)
attempt("perf", kernel, "syscall", 298, ctypes.create_string_buffer(128), 0, -1, -1, 0)
attempt("reboot", kernel, "reboot", 0)
attempt("swapoff", kernel, "swapoff", "/tmp/x")
attempt("clock", __import__("time").clock_settime, 0, 0.0)
attempt("acct", kernel, "acct", "/tmp/x")
attempt("nice", os.setpriority, os.PRIO_PROCESS, 0, -20)
""",
        refused=each(
            "init_module", "finit_module", "delete_module", "kexec", "bpf", "perf", "reboot",
            "swapoff", "clock", "acct", "nice",
        ),
    ),
    "switches of the kernel": Try(
        program="""
for path in (
    "/proc/sys/kernel/core_pattern", "/proc/sys/kernel/hostname", "/proc/sys/vm/overcommit_memory",
    "/proc/sysrq-trigger", "/proc/irq/default_smp_affinity", "/proc/1/oom_score_adj",
):
    attempt(path, write, path, "-1000")
""",
        refused=each(
            "/proc/sys/kernel/core_pattern",
            "/proc/sys/kernel/hostname",
            "/proc/sys/vm/overcommit_memory",
            "/proc/sysrq-trigger",
            "/proc/irq/default_smp_affinity",
            "/proc/1/oom_score_adj",
        ),
    ),
    "the tree of /sys": Try(
        program="""
attempt("uevent", write, "/sys/kernel/uevent_helper", "/tmp/x")
attempt("power", write, "/sys/power/state", "mem")
mounts = [line.split() for line in open("/proc/mounts")]
groups = [mount[1] for mount in mounts if mount[2] in ("cgroup", "cgroup2")]
kinds = {os.path.basename(path): path for path in groups}
for kind in ("memory", "pids"):
    path = kinds.get(kind, groups[0])
    attempt("mkdir-" + kind, os.mkdir, path + "/mine")
    limit = "/memory.limit_in_bytes" if kind == "memory" and kind in kinds else f"/{kind}.max"
    attempt("limit-" + kind, write, path + limit, "1000000000")
attempt("release", write, kinds.get("memory", groups[0]) + "/release_agent", "/tmp/x")
attempt("processes", write, kinds.get("memory", groups[0]) + "/cgroup.procs", "1")
""",
        refused=each(
            "uevent", "power", "mkdir-memory", "limit-memory", "mkdir-pids", "limit-pids",
            "release", "processes",
        ),
    ),
    "memory and log of the kernel": Try(
        program="""
def start(path, size=1):
    with open(path, "rb") as file:
        data = file.read(size)
    if not data:
        raise OSError(errno.ENODATA, path)
    return data
attempt("kcore", start, "/proc/kcore", 1 << 20)
attempt("kallsyms", lambda: [line for line in open("/proc/kallsyms")
    if int(line.split()[0], 16)] and "addresses" or os.open("/nowhere", 0))
attempt("syslog", kernel, "klogctl", 3, ctypes.create_string_buffer(64), 64)
""",
        refused=each("kcore", "kallsyms", "syslog"),
    ),
    "processes of the host": Try(
        program="""
host = int(os.environ["HOST_PID"])
print("few", len([name for name in os.listdir("/proc") if name.isdigit()]) < 6, flush=True)
attempt("kill", os.kill, host, 0)
attempt("attach", kernel, "ptrace", 16, host, 0, 0)
attempt("environ", os.open, f"/proc/{host}/environ", os.O_RDONLY)
attempt("pidfd", kernel, "syscall", 434, host, 0)
attempt("handle", kernel, "syscall", 304, -100, ctypes.create_string_buffer(64), os.O_RDONLY)
""",
        refused=each("kill", "attach", "environ", "pidfd", "handle"),
    ),
    "the engine": Try(
        program="""
for path in ("/var/run/docker.sock", "/run/docker.sock", "/run/podman/podman.sock",
             "/run/containerd/containerd.sock", os.environ["ENGINE_SOCKET"]):
    attempt(path.rpartition("/")[2], socket.socket(socket.AF_UNIX).connect, path)
with open("/proc/net/unix") as sockets:
    print("abstract", len([line for line in sockets if "@" in line]), flush=True)
attempt("runtime", write, "/proc/self/exe")
""",
        refused=each(
            "docker.sock", "docker.sock", "podman.sock", "containerd.sock", "engine.sock", "runtime"
        ),
        shows=("abstract 0",),
    ),
    "a root file system that is read-only": Try(
        program="""
for path in ("/new", "/etc/passwd", "/bin/sh", "/py/new"):
    attempt(path, write, path)
attempt("remount", kernel, "mount", None, "/", None, 32, None)
print("tmp", write("/tmp/new"), flush=True)
""",
        refused=each("/new", "/etc/passwd", "/bin/sh", "/py/new", "remount"),
        shows=("tmp 1",),
        fields={"read_only_rootfs": True},
    ),
    "the network, where there is none": Try(
        program="""
def reach(host, port):
    with socket.socket() as client:
        client.settimeout(2)
        client.connect((host, port))
        return host
attempt("server", reach, "127.0.0.1", int(os.environ["SERVER_PORT"]))
attempt("bridge", reach, "172.17.0.1", int(os.environ["SERVER_PORT"]))
attempt("metadata", reach, "169.254.169.254", 80)
""",
        refused=each("server", "bridge", "metadata"),
        fields={"network": "none"},
    ),
}  # fmt: skip
