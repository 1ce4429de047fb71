"""Settings as text: abaco.conf with its comments, allowed values, single values."""

from __future__ import annotations

import textwrap
import types
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import annotated_types
from pydantic import SecretStr
from pydantic.fields import FieldInfo

from abaco.settings import RegistrySettings, Section, Settings

_HEAD = """\
# Configuration of Abaco.
#
# Every key stands here with its default, commented out: take the # away from a key to change it.
# `key: value` and `key = value` mean the same. Environment variables win over this file:
# web_case=camel, or ABACO__WEB__CASE=camel. `abaco serve --show-config` tells what is in force
# and where each value comes from.
"""

_WIDTH = 98


def section_classes() -> Mapping[str, type[Section]]:
    """Return the section classes by name, in the order of the file."""
    return {
        name: field.annotation
        for name, field in Settings.model_fields.items()
        if isinstance(field.annotation, type) and issubclass(field.annotation, Section)
    }


def render(chosen: Mapping[tuple[str, str], str] | None = None) -> str:
    """Write abaco.conf: every section and key with description, allowed values and default.

    Args:
        chosen: Values that are written as active lines instead of the commented default.

    """
    chosen = chosen or {}
    lines = [_HEAD.rstrip()]
    for name, section in section_classes().items():
        lines += [f"\n[{name}]", *_comment((section.__doc__ or "").strip())]
        for key, field in section.model_fields.items():
            lines += ["", *_comment(f"{field.description} Allowed: {allowed(field)}.")]
            value = chosen.get((name, key))
            text = value_text(field.get_default()) if value is None else value
            lines.append(f"{'#' if value is None else ''}{key}: {text}".rstrip())
    return "\n".join([*lines, *_registries()]) + "\n"


def _registries() -> Iterator[str]:
    """Write what sections [registry:<host>] hold, as comments only: there is none by default."""
    yield "\n# [registry:<host>], or [registry:<host>:<port>]"
    yield from _comment((RegistrySettings.__doc__ or "").strip())
    for key, field in RegistrySettings.model_fields.items():
        yield "#"
        yield from _comment(f"{key}: {field.description} Allowed: {allowed(field)}.")


def allowed(field: FieldInfo) -> str:
    """Say which values a key takes."""
    if said := _said(field):
        return said
    kinds = _kinds(field.annotation)
    text = " or ".join(_describe(kind, field) for kind in kinds if kind is not types.NoneType)
    return f"{text}, or nothing" if types.NoneType in kinds else text


def _said(field: FieldInfo) -> str:
    """Return what the key itself says it takes, if it does."""
    said = field.json_schema_extra
    return str(said.get("allowed", "")) if isinstance(said, dict) else ""


def choices(field: FieldInfo) -> tuple[str, ...]:
    """Return the words a key takes; none when it is not a choice among words."""
    if get_origin(field.annotation) is Literal:
        return tuple(str(choice) for choice in get_args(field.annotation))
    return ()


def is_optional(field: FieldInfo) -> bool:
    """Tell whether an empty value means "not set"."""
    return types.NoneType in _kinds(field.annotation)


def is_kind(field: FieldInfo, kind: type) -> bool:
    """Tell whether values of the key are of this type."""
    return kind in _kinds(field.annotation)


def value_text(value: Any) -> str:
    """Spell a value as abaco.conf does; secrets stay hidden."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, SecretStr):
        return "(hidden)"
    if isinstance(value, Mapping):
        return ", ".join(f"{name}={number}" for name, number in value.items())
    if isinstance(value, tuple):
        return ", ".join(value)
    return str(value)


def _kinds(annotation: Any) -> tuple[Any, ...]:
    if get_origin(annotation) in (Union, types.UnionType):
        return get_args(annotation)
    return (annotation,)


def _describe(kind: Any, field: FieldInfo) -> str:
    if get_origin(kind) is Annotated:  # what an optional key takes has its bounds with it
        bare, *notes = get_args(kind)
        inner = next((note for note in notes if isinstance(note, FieldInfo)), field)
        return _said(inner) or _describe(bare, inner)
    if get_origin(kind) is Literal:
        return ", ".join(str(choice) for choice in get_args(kind))
    if kind is bool:
        return "true or false (also yes/no, on/off, 1/0)"
    if kind in (int, float):
        noun = "a whole number" if kind is int else "a number"
        return " ".join([noun, *_bounds(field)])
    return "text" if kind in (str, SecretStr) else "a path"


def _bounds(field: FieldInfo) -> Iterator[str]:
    for bound in field.metadata:
        match bound:
            case annotated_types.Ge(ge=least):
                yield f"from {least}"
            case annotated_types.Gt(gt=below):
                yield f"above {below}"
            case annotated_types.Le(le=most):
                yield f"to {most}"


def _comment(text: str) -> list[str]:
    return textwrap.wrap(text, _WIDTH, initial_indent="# ", subsequent_indent="# ")
