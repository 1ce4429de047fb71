"""abaco.conf -> frozen, typed settings, once.

The values of a key in rising order of weight: default, file, environment, flag. Everything that
is wrong is reported at once, each with its place, its value and what is allowed. Only this module
reads the file and the process environment.
"""

from __future__ import annotations

import ast
import configparser
import difflib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import SecretStr, ValidationError
from pydantic.fields import FieldInfo

from abaco.config_text import allowed, choices, is_kind, is_optional, section_classes, value_text
from abaco.errors import ConfigError
from abaco.legacy_keys import (
    ACCOUNT_VARIABLE,
    LEGACY_SECTIONS,
    MEANINGLESS,
    NOT_YET,
    RENAMED,
    RENAMED_ENVIRONMENT,
    LegacyKey,
    find_legacy_key,
    find_renamed,
)
from abaco.settings import (
    EngineSettings,
    GeneralSettings,
    LogsSettings,
    RuntimeSettings,
    Section,
    Settings,
    SpawnerSettings,
    StoreSettings,
    WebSettings,
    WorkersSettings,
)
from abaco.settings.hosts import TELLING
from abaco.settings.registries import RegistrySettings, registry_name, registry_section

__all__ = [
    "Configuration",
    "EngineSettings",
    "GeneralSettings",
    "LogsSettings",
    "RuntimeSettings",
    "Section",
    "Settings",
    "SpawnerSettings",
    "StoreSettings",
    "WebSettings",
    "WorkersSettings",
    "load",
]

Key = tuple[str, str]

_SECTIONS = section_classes()
_SYSTEM_FILE = Path("/etc/abaco.conf")


@dataclass(frozen=True, slots=True)
class Entry:
    """A value as written, and who wrote it."""

    text: str
    origin: str


@dataclass(frozen=True, slots=True)
class UnusedEntry(Entry):
    """A value nobody reads, and why."""

    legacy: LegacyKey


@dataclass(frozen=True, slots=True)
class EffectiveValue:
    """One line of ``--show-config``; secrets are hidden in ``text`` already."""

    section: str
    key: str
    text: str
    origin: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """Settings and where they come from.

    Attributes:
        path: The file that was read, if there was one.
        origins: Who set each key that is not at its default.
        unused: Keys of the older Abaco that were given and do nothing, each once.

    """

    settings: Settings
    path: Path | None
    origins: Mapping[Key, str]
    unused: Mapping[Key, UnusedEntry]

    def effective(self) -> Iterator[EffectiveValue]:
        """Yield every key with its value in force, then the legacy keys that do nothing."""
        for name, cls in _SECTIONS.items():
            section = getattr(self.settings, name)
            for key in cls.model_fields:
                origin = self.origins.get((name, key), "default")
                yield EffectiveValue(name, key, value_text(getattr(section, key)), origin)
            for (owner, key), origin in self.origins.items():
                if owner == name and (form := cls.split_tenant_key(key)):
                    tenant, ending = form
                    text = value_text(section.for_tenant(ending, tenant))
                    yield EffectiveValue(name, key, text, origin)
        yield from self._registries()
        for (name, key), entry in self.unused.items():
            text = "(hidden)" if entry.legacy.is_secret else entry.text
            why = f"{entry.origin}; no effect: {entry.legacy.reason}"
            yield EffectiveValue(name, key, text, why)

    def _registries(self) -> Iterator[EffectiveValue]:
        for host, section in self.settings.registries.items():
            name = f"registry:{host}"
            for (owner, key), origin in self.origins.items():
                if owner == name:
                    form = section.split_tenant_key(key)
                    value = section.own_of(form[1], form[0]) if form else getattr(section, key)
                    yield EffectiveValue(name, key, value_text(value), origin)

    def notices(self) -> Iterator[str]:
        """Yield one line for the log for each list of legacy keys that was drawn on."""
        for title, keys in (
            ("keys of the older Abaco without meaning here are ignored", MEANINGLESS),
            ("keys whose feature comes in a later release are ignored", NOT_YET),
        ):
            found = [f"[{s}] {k}" for (s, k), entry in self.unused.items() if entry.legacy in keys]
            if found:
                yield f"{title}: {', '.join(found)} (docs/configuration.rst tells why)"


@dataclass(slots=True)
class _Draft:
    """What was read so far, by canonical key."""

    entries: dict[Key, Entry] = field(default_factory=dict)
    unused: dict[Key, UnusedEntry] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def add_layer(self, layer: Mapping[Key, Entry]) -> None:
        """Take one layer in; its values win over those of earlier layers."""
        for key, entry in layer.items():
            if _is_setting(key):
                self.entries[key] = entry
            elif target := find_renamed(*key):
                if target not in layer:
                    self.entries[target] = Entry(entry.text, f"{entry.origin} ({key[1]})")
            elif legacy := find_legacy_key(*key):
                self.unused[key] = UnusedEntry(entry.text, entry.origin, legacy)
            else:
                self.problems.append(f"{entry.origin}: {_unknown(key)}")


def load(
    path: Path | None = None,
    *,
    flags: Mapping[Key, str | None] | None = None,
    environment: Mapping[str, str] | None = None,
    directory: Path | None = None,
) -> Configuration:
    """Read the configuration.

    Args:
        path: The file to read; it must exist. Without it the usual places are searched.
        flags: Values from the command line by section and key; None means not given.
        environment: Instead of that of the process.
        directory: Instead of the working directory, for the search.

    Raises:
        ConfigError: Lists every fault with file, section, key, value and what is allowed.

    """
    environment = os.environ if environment is None else environment
    found = _find_file(path, environment, directory or Path())
    draft = _Draft()
    if found:
        draft.add_layer(_read_file(found, draft.problems))
    draft.add_layer(_read_environment(environment))
    draft.add_layer(_read_flags(flags or {}))
    settings = _validate(draft)
    if draft.problems or settings is None:
        raise ConfigError("\n".join(draft.problems))
    origins = {key: entry.origin for key, entry in draft.entries.items()}
    return Configuration(settings=settings, path=found, origins=origins, unused=draft.unused)


def _find_file(path: Path | None, environment: Mapping[str, str], directory: Path) -> Path | None:
    """Return the first file of the search order; a file somebody named must be there."""
    named: list[tuple[str, Path]] = []
    if path:
        named.append(("--config", path))
    if host_path := environment.get("abaco_conf_host_path"):
        named.append(("$abaco_conf_host_path", Path(host_path)))
    if named:
        who, candidate = named[0]
        if not candidate.is_file():
            raise ConfigError(f"{who} names {candidate}, which is no file; `abaco init` writes one")
        return candidate
    places = [directory / "abaco.conf", _SYSTEM_FILE]
    if base := environment.get("abaco_path"):
        places.insert(0, Path(base) / "abaco.conf")
    return next((place for place in places if place.is_file()), None)


def _read_file(path: Path, problems: list[str]) -> dict[Key, Entry]:
    """Read a file; sections nobody knows are added to the problems, without their keys.

    Raises:
        ConfigError: There is no making out its sections and keys.

    """
    # No section is called "": [DEFAULT] has no magic here and is refused as unknown.
    parser = configparser.ConfigParser(interpolation=None, default_section="")
    try:
        parser.read_string(path.read_text(encoding="utf-8"), source=str(path))
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not UTF-8 text: {error.reason}") from error
    except configparser.Error as error:
        faults = "\n".join(f"{path} line {line}: {what}" for line, what in _syntax_faults(error))
        raise ConfigError(faults or f"{path}: {' '.join(error.message.split())}") from error
    known = [name for name in parser.sections() if _is_section(name)]
    problems += [
        f"{path}: {_unknown_section(name)}" for name in parser.sections() if name not in known
    ]
    return {
        (registry_section(name) or name, key): Entry(text.strip(), str(path))
        for name in known
        for key, text in parser.items(name)
    }


def _syntax_faults(error: configparser.Error) -> list[tuple[int | None, str]]:
    """Return number and fault of each line that the parser did not like."""
    match error:
        case configparser.MissingSectionHeaderError(lineno=number, line=line):
            return [(number, f"{line.strip()!r} stands before the first [section]")]
        case configparser.DuplicateSectionError(lineno=number, section=section):
            return [(number, f"[{section}] is there already; a section is written once")]
        case configparser.DuplicateOptionError(lineno=number, section=section, option=key):
            return [(number, f"[{section}] {key} is set already; a key is written once")]
        case configparser.ParsingError(errors=errors):
            return [(number, f"{_line(text)!r} is not `key: value`") for number, text in errors]
    return []


def _line(text: str) -> str:
    """Undo the quoting of the lines in a ParsingError."""
    return str(ast.literal_eval(text)).strip()


def _read_environment(environment: Mapping[str, str]) -> dict[Key, Entry]:
    """Collect overrides. ``ABACO__`` names must be known; ``web_x`` may be anybody's variable."""
    layer: dict[Key, Entry] = {}
    for name, text in environment.items():
        entry = Entry(text.strip(), f"environment variable {name}")
        if name.startswith("ABACO__"):
            section, _, key = name.removeprefix("ABACO__").lower().partition("__")
            layer[section, key] = entry
        elif name in RENAMED_ENVIRONMENT:
            layer.setdefault(RENAMED_ENVIRONMENT[name], entry)
        elif account := ACCOUNT_VARIABLE.fullmatch(name):
            layer.setdefault(("oauth", "_".join(account.groups()).lower()), entry)
        else:
            section, _, key = name.partition("_")
            place = (section, key.lower())
            if _is_setting(place) or find_renamed(*place) or find_legacy_key(*place):
                layer.setdefault(place, entry)
    return layer


def _read_flags(flags: Mapping[Key, str | None]) -> dict[Key, Entry]:
    return {
        (section, key): Entry(text, f"--{key.replace('_', '-')}")
        for (section, key), text in flags.items()
        if text is not None
    }


def _validate(draft: _Draft) -> Settings | None:
    """Build the settings; faults go to the draft's problems."""
    values: dict[str, dict[str, Any]] = {name: {} for name in _SECTIONS}
    registries: dict[str, dict[str, Any]] = {}
    for (section, key), entry in draft.entries.items():
        target = values[section] if section in _SECTIONS else registries.setdefault(section, {})
        target[key] = _raw_value(_field(section, key), entry.text)
    values["registries"] = {registry_name(name): keys for name, keys in registries.items()}
    values["general"].setdefault("data_dir", default_data_dir())
    port = values["web"].get("port", "") or "8000"
    if port.isdigit() and int(port):  # the server that listens elsewhere is found elsewhere
        scheme = "https" if values["web"].get("tls_certificate") else "http"
        values["web"].setdefault("default_api_server", f"{scheme}://127.0.0.1:{port}")
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        for item in error.errors():
            context = {"type": item["type"], **item.get("ctx", {})}
            draft.problems.append(_problem(draft, item["loc"], context, item["msg"]))
    return None


def _problem(
    draft: _Draft, place: tuple[int | str, ...], context: Mapping[str, Any], text: str
) -> str:
    if place and place[0] == "registries":
        place = (f"registry:{place[1]}", *place[2:])
    section = str(place[0]) if place else context["section"]
    if len(place) < 2:  # a rule over several keys
        keys = (context["key"], context.get("because", ""))
        guilty = [draft.entries.get((section, key)) for key in keys]
        origin = next((entry.origin for entry in guilty if entry), "configuration")
        return f"{origin}: [{section}] {context['key']}: {text}"
    key = str(place[1])
    entry, field_info = draft.entries[section, key], _field(section, key)
    shown = "the value" if is_kind(field_info, SecretStr) else repr(entry.text)
    because = f" ({text})" if context["type"] == TELLING else ""
    return (
        f"{entry.origin}: [{section}] {key}: {shown} is not allowed{because};"
        f" allowed: {allowed(field_info)}"
    )


def _raw_value(field_info: FieldInfo, text: str) -> Any:
    """Turn text into what pydantic converts: empty is None, words match in any letter case."""
    if not text and is_optional(field_info):
        return None
    if is_kind(field_info, Path):
        return Path(text).expanduser().absolute() if text else text
    return next((word for word in choices(field_info) if word.lower() == text.lower()), text)


def _field(section: str, key: str) -> FieldInfo:
    cls = _SECTIONS.get(section, RegistrySettings)
    form = cls.split_tenant_key(key)
    return cls.model_fields[cls.tenant_forms[form[1]] if form else key]


def _is_section(name: str) -> bool:
    return name in _SECTIONS or name in LEGACY_SECTIONS or registry_section(name) is not None


def _is_setting(place: Key) -> bool:
    section, key = place
    cls = RegistrySettings if registry_section(section) else _SECTIONS.get(section)
    return cls is not None and (key in cls.model_fields or cls.split_tenant_key(key) is not None)


def _unknown(place: Key) -> str:
    section, key = place
    if not _is_section(section):
        return _unknown_section(section)
    known = [*_SECTIONS[section].model_fields] if section in _SECTIONS else []
    if registry_section(section):
        known = [*RegistrySettings.model_fields]
    known += [old for owner, old in RENAMED if owner == section]
    return f"[{section}] {key}: unknown key{_nearest(key, known)}"


def _unknown_section(name: str) -> str:
    return f"[{name}]: unknown section{_nearest(name, [*_SECTIONS, *LEGACY_SECTIONS])}"


def _nearest(name: str, known: list[str]) -> str:
    close = difflib.get_close_matches(name.lower(), known, n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else f"; known: {', '.join(sorted(known))}"


def default_data_dir() -> Path:
    """Return the directory used when nobody names one: the system's if it can be written."""
    system: Path = GeneralSettings.model_fields["data_dir"].default
    existing = next(place for place in (system, *system.parents) if place.exists())
    if os.access(existing, os.W_OK):
        return system
    return Path.home() / ".local" / "share" / "abaco"
