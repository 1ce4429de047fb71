"""Keys of older abaco.conf files that are accepted but do nothing here, and keys with a new name.

Both lists are printed in docs/configuration.rst; a test holds the two together.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from abaco.domain.image import DOCKER_HUB


@dataclass(frozen=True, slots=True, kw_only=True)
class LegacyKey:
    """One key, or a family of keys.

    Attributes:
        key: May hold one placeholder: ``<n>`` a number, ``<module>`` or ``<tenant>`` a name.
        reason: Why it does nothing; completes "has no effect: ...".
        is_secret: Whether values must not be shown.

    """

    section: str
    key: str
    reason: str
    is_secret: bool = False

    def matches(self, section: str, key: str) -> bool:
        """Tell whether a lower-case key of a file is this one."""
        pattern = re.escape(self.key)
        for placeholder, form in (("<n>", r"\d+"), ("<module>", r"\w+"), ("<tenant>", r"[\w-]+")):
            pattern = pattern.replace(placeholder, form)
        return section == self.section and re.fullmatch(pattern, key) is not None


def _keys(section: str, reason: str, *keys: str, is_secret: bool = False) -> list[LegacyKey]:
    return [LegacyKey(section=section, key=key, reason=reason, is_secret=is_secret) for key in keys]


_ONE_LOG = "the server is one process with one log; see [logs] file"

#: what these keys steered does not exist in one process, now or later
MEANINGLESS: tuple[LegacyKey, ...] = (
    *_keys(
        "rabbit", "messages wait in the store, there is no broker to reach", "uri", is_secret=True
    ),
    *_keys("logs", _ONE_LOG, "files", "file.<module>", "host_dir"),
    *_keys(
        "spawner",
        "workers are coroutines, there is no container of theirs to mount a file into",
        "abaco_conf_host_path",
    ),
    *_keys(
        "spawner",
        "there is no command queue; max_parallel_pulls and max_creates bound what starts at once",
        "max_cmd_length",
    ),
    *_keys("workers", "workers have no containers that could be left behind", "auto_remove"),
    *_keys(
        "workers",
        "sockets and pipes lie under [general] data_dir",
        "socket_host_path_dir",
        "fifo_host_path_dir",
    ),
)

_STORES = "the MongoDB store comes in a later release; records are in [store] backend"

#: accepted now, effective once their feature is there
NOT_YET: tuple[LegacyKey, ...] = (
    *_keys("logs", "levels per module come in a later release", "level.<module>"),
    *_keys("store", _STORES, "mongo_host", "mongo_port", "mongo_user"),
    *_keys("store", _STORES, "mongo_password", is_secret=True),
    *_keys("runtime", "retention comes in a later release", "execution_retention_days"),
)

#: old or second name -> the key it sets; the new name wins when both are given
RENAMED: dict[tuple[str, str], tuple[str, str]] = {
    ("docker", "dd"): ("engine", "docker_socket"),
    ("spawner", "docker_network"): ("engine", "network"),
    ("web", "results_ttl"): ("runtime", "results_ttl"),
    ("web", "emit_execution_started"): ("runtime", "emit_started"),
    ("runtime", "sync_timeout"): ("web", "sync_timeout"),
}

#: the same for the numbered accounts at Docker Hub
_HUB_ACCOUNT = re.compile(r"dockerhub_(username|password)_([0-9]{1,9})")

#: environment variables of the older Abaco that set a key without following the rule
RENAMED_ENVIRONMENT: dict[str, tuple[str, str]] = {
    "service_TAG": ("general", "tag"),
    "SPAWNER_HOST_ID": ("spawner", "host_id"),
    "MAX_WORKERS_PER_HOST": ("spawner", "max_workers_per_host"),
    "MAX_WORKERS_PER_ACTOR": ("spawner", "max_workers_per_actor"),
    "TAS_URL_BASE": ("identity", "url"),
    "TAS_ROLE_ACCT": ("identity", "username"),
    "TAS_ROLE_PASS": ("identity", "password"),
    "TAS_GID": ("identity", "gid"),
}

#: those of the service accounts of tenants
ACCOUNT_VARIABLE = re.compile(r"_abaco_(\S+)_(username|password)")

#: sections that exist in older files only
LEGACY_SECTIONS = frozenset({"rabbit", "docker"})


def find_renamed(section: str, key: str) -> tuple[str, str] | None:
    """Return the key that an old or second name sets."""
    if section == "docker" and (match := _HUB_ACCOUNT.fullmatch(key)):
        return f"registry:{DOCKER_HUB}", f"{match[1]}_{match[2]}"
    return RENAMED.get((section, key))


def find_legacy_key(section: str, key: str) -> LegacyKey | None:
    """Return the entry of either list that covers this key."""
    for legacy in (*MEANINGLESS, *NOT_YET):
        if legacy.matches(section, key):
            return legacy
    return None
