"""Parameters in: body and query string, taken apart and merged.

Body first, then query string, and only for the parameters a route declares; what is not declared
is passed over. Names may come in either case; the configured one wins.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, unquote_to_bytes

from tornado.httputil import HTTPFile, HTTPInputError, HTTPServerRequest, parse_body_arguments

from abaco.errors import InvalidInputError
from handlers.jsontext import MAX_SHOWN, parse_json
from handlers.spelling import Case, spell, to_camel

JSON_TYPE = "application/json"
FORM_TYPE = "application/x-www-form-urlencoded"
MULTIPART_TYPE = "multipart/form-data"
BINARY_TYPE = "application/octet-stream"

#: stands in for credentials; never a parameter of a route
NONCE_PARAMETER = "x-nonce"

#: asks for a log as it grows; not one to search it by
FOLLOW_PARAMETER = "follow"

#: fields of one form or query string
MAX_FIELDS = 1000

_BAD_PERCENT = re.compile(rb"%(?![0-9A-Fa-f]{2})")

Fields = dict[str, list[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Body:
    """A request's body, taken apart by its type.

    Attributes:
        media_type: Without parameters, lower case; empty when none was sent.
        raw: The bytes as sent.
        json: The decoded value of a JSON body; None for other types.
        fields: All values of each field of a form body.

    """

    media_type: str = ""
    raw: bytes = b""
    json: Any = None
    fields: Fields = field(default_factory=dict)

    @property
    def is_json(self) -> bool:
        """Whether ``json`` holds the body."""
        return bool(self.raw.strip()) and is_json_type(self.media_type)


def is_json_type(media_type: str) -> bool:
    """Tell JSON types; a body without a type counts as JSON."""
    return media_type in ("", JSON_TYPE) or (
        media_type.startswith("application/") and media_type.endswith("+json")
    )


def media_type(request: HTTPServerRequest) -> str:
    """Return the body's type without parameters, in lower case; empty when not sent."""
    return request.headers.get("Content-Type", "").partition(";")[0].strip().lower()


def read_body(request: HTTPServerRequest) -> Body:
    """Take the body apart.

    Raises:
        InvalidInputError: It is not what its type says.

    """
    kind, raw = media_type(request), request.body
    if kind == FORM_TYPE:
        return Body(media_type=kind, raw=raw, fields=read_pairs(raw))
    if kind == MULTIPART_TYPE:
        return Body(media_type=kind, raw=raw, fields=_read_multipart(request))
    if is_json_type(kind) and raw.strip():
        return Body(media_type=kind, raw=raw, json=parse_json(raw))
    return Body(media_type=kind, raw=raw)


def read_query(request: HTTPServerRequest) -> Fields:
    """Return all values of each query parameter, in order.

    Raises:
        InvalidInputError: Names the parameter with bad escapes, or that is not UTF-8.

    """
    return read_pairs(request.query.encode("latin-1"))


def read_pairs(raw: bytes) -> Fields:
    """Read ``name=value&...``, strictly.

    Raises:
        InvalidInputError: Names the field with bad escapes, or that is not UTF-8.

    """
    if _BAD_PERCENT.search(raw):
        bad = next(pair for pair in raw.split(b"&") if _BAD_PERCENT.search(pair))
        field = _readable(unquote_to_bytes(bad.partition(b"=")[0]))
        raise InvalidInputError("has a % that is not followed by two hex digits", field=field)
    try:
        # Latin-1 carries every byte through; the strict reading comes after.
        pairs = parse_qsl(
            raw.decode("latin-1"),
            keep_blank_values=True,
            encoding="latin-1",
            max_num_fields=MAX_FIELDS,
        )
    except ValueError as error:
        raise InvalidInputError(f"more than {MAX_FIELDS} fields") from error
    fields: Fields = {}
    for pair in pairs:
        name, value = (part.encode("latin-1") for part in pair)
        fields.setdefault(_decode(name, name), []).append(_decode(value, name))
    return fields


def gather(
    names: Collection[str], body: Body, query: Fields, case: Case, *, lists: Collection[str] = ()
) -> dict[str, Any]:
    """Collect the declared parameters under their snake names; null means not given.

    Args:
        names: Declared parameters, snake names.
        body: JSON object or form, or empty.
        query: Looked at where the body says nothing.
        case: Configured case; it wins when a name comes in both.
        lists: Parameters of which all values of a form count, not just the first.

    Raises:
        InvalidInputError: The body is neither JSON object nor form.

    """
    found: dict[str, Any] = {}
    sources = (_object_of(body, lists), _flatten(query, lists))
    for name in names:
        spelled = spell(name, case)
        other = name if case == "camel" else to_camel(name)
        for source in sources:
            value = source.get(spelled)
            if value is None:
                value = source.get(other)
            if value is not None:
                found[name] = value
                break
    return found


def has_null(name: str, body: Body) -> bool:
    """Tell whether a JSON body says null of a parameter, in either spelling."""
    if not body.is_json or not isinstance(body.json, dict):
        return False
    return any(body.json.get(spelled, ...) is None for spelled in (name, to_camel(name)))


def _object_of(body: Body, lists: Collection[str]) -> Mapping[str, Any]:
    if body.is_json:
        if not isinstance(body.json, dict):
            raise InvalidInputError("the body must be a JSON object")
        return body.json
    if body.raw and body.media_type not in (FORM_TYPE, MULTIPART_TYPE, "", JSON_TYPE):
        raise InvalidInputError(
            f"a body of Content-Type {body.media_type[:MAX_SHOWN]} is not understood; send JSON"
            " or a form"
        )
    return _flatten(body.fields, lists)


def _flatten(fields: Fields, lists: Collection[str]) -> Mapping[str, Any]:
    """Keep the first value of each field, or all where a list is wanted."""
    whole = {*lists, *map(to_camel, lists)}
    return {name: values if name in whole else values[0] for name, values in fields.items()}


def _read_multipart(request: HTTPServerRequest) -> Fields:
    # Tornado knows media types in lower case only; the boundary must be left as it is.
    _, _, parameters = request.headers["Content-Type"].partition(";")
    arguments: dict[str, list[bytes]] = {}
    files: dict[str, list[HTTPFile]] = {}
    try:
        parse_body_arguments(f"{MULTIPART_TYPE};{parameters}", request.body, arguments, files)
    except HTTPInputError as error:
        raise InvalidInputError(f"the body is no valid form: {error}") from error
    for name in files:
        raise InvalidInputError("is a file; send its content as a value", field=name[:MAX_SHOWN])
    return {
        name: [_decode(value, name.encode()) for value in values]
        for name, values in arguments.items()
    }


def _decode(value: bytes, name: bytes) -> str:
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InvalidInputError("is not valid UTF-8", field=_readable(name)) from error


def _readable(name: bytes) -> str:
    return name.decode("utf-8", "replace")[:MAX_SHOWN]
