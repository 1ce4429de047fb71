"""The description of the HTTP API: ``handlers/openapi/*.yaml``, finished for one configuration.

The files say what is particular to each route; the head of ``openapi.yaml`` tells what the keys
that begin with ``x-abaco-`` stand for. Here they become plain OpenAPI 3.1.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from importlib import resources
from typing import Any, NamedTuple

import yaml

import abaco
from abaco.domain.actor import DEFAULT_QUEUE
from abaco.errors import ConfigError
from abaco.settings import WebSettings
from handlers.parameters import FORM_TYPE, JSON_TYPE, MULTIPART_TYPE
from handlers.schema_rules import MARKS, Node, Schemas, change, derive, form_of, spell_names
from handlers.spelling import Case

#: what a file may say about an operation's level
OPEN, MEMBER = "open", "member"

_RESULT, _ERROR = "x-abaco-result", "x-abaco-error"
_QUEUES = "x-abaco-queues"
_PARAMETERS = "x-abaco-parameters"

_VERBS = ("get", "put", "post", "delete")
_COMMON_HEADERS = {
    "X-Request-Id": {"$ref": "#/components/headers/RequestId"},
    "Access-Control-Allow-Origin": {"$ref": "#/components/headers/AllowOrigin"},
}


class Dialect(NamedTuple):
    """What of the configuration shows in the interface.

    Attributes:
        case: How names are spelled.
        is_modern: Whether refusals are answered 401 and 403.
        schemes: Names of the ways to prove who one is; none are needed when it is empty.
        is_guarded: Whether a request has to prove who sent it.
        queues: The queues there are.

    """

    case: Case
    is_modern: bool = False
    schemes: tuple[str, ...] = ()
    is_guarded: bool = True
    queues: tuple[str, ...] = (DEFAULT_QUEUE,)


def dialect_of(web: WebSettings) -> Dialect:
    """Return what these settings make of the interface."""
    is_guarded = web.access_control != "none"
    schemes = {
        "gateway": is_guarded and web.apim_public_key is not None,
        "bearer": is_guarded and (web.accept_bearer or web.jwks_url is not None),
        "nonce": web.accept_nonce,
    }
    return Dialect(
        case=web.case,
        is_modern=web.modern_status,
        schemes=tuple(name for name, is_used in schemes.items() if is_used),
        is_guarded=is_guarded,
        queues=web.all_queues,
    )


@lru_cache(maxsize=8)
def describe(dialect: Dialect) -> bytes:
    """Return the document as JSON."""
    return json.dumps(_finish(_load(), dialect)).encode()


def _load() -> Node:
    """Merge the files."""
    # The one in C reads ten times as fast; not every installation of PyYAML has it.
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    document: Node = {}
    for file in sorted(resources.files("handlers").joinpath("openapi").iterdir(), key=str):
        if file.name.endswith(".yaml"):
            part = yaml.load(file.read_text(encoding="utf-8"), loader)  # noqa: S506 - both are safe
            document = _join(document, part, file.name)
    return document


def _join(first: Node, second: Node, place: str) -> Node:
    """Merge two trees, neither of which may say what the other says already."""
    joined = dict(first)
    for key, value in second.items():
        if isinstance(value, dict) and isinstance(first.get(key, {}), dict):
            value = _join(first.get(key, {}), value, f"{place} {key}")
        elif key in first:
            raise ConfigError(f"the description says {place} {key} twice")
        joined[key] = value
    return joined


def _finish(document: Node, dialect: Dialect) -> Node:
    document["info"]["version"] = abaco.__version__
    document = change(document, lambda node: _list_queues(node, dialect.queues))
    components = document["components"]
    schemes = components["securitySchemes"]
    components["securitySchemes"] = {name: schemes[name] for name in dialect.schemes}
    schemas = components["schemas"]
    document = change(document, lambda node: derive(node, schemas))
    schemas = document["components"]["schemas"]
    document = change(document, lambda node: spell_names(node, dialect.case, schemas))
    schemas = document["components"]["schemas"]
    document = change(document, lambda node: _expand(node, schemas))
    components = document["components"]
    components["responses"] = _with_headers(components["responses"])
    for path, item in document["paths"].items():
        for verb in _VERBS:
            if verb in item:
                item[verb] = _complete(item[verb], dialect, is_named="{" in path)
    return {name: change(part, _unmark) for name, part in document.items()}


def _list_queues(node: Node, queues: tuple[str, ...]) -> Node:
    """Put the names of the queues there are into a list of values."""
    if not node.get(_QUEUES):
        return node
    return {key: value for key, value in node.items() if key != _QUEUES} | {
        "enum": [*queues, *node["enum"]]
    }


def _unmark(node: Node) -> Node:
    return {key: value for key, value in node.items() if key not in MARKS}


def _merge(first: Any, second: Any) -> Any:
    """Merge two trees; the second wins where both say something."""
    if not (isinstance(first, dict) and isinstance(second, dict)):
        return second
    return {**first, **{key: _merge(first.get(key), value) for key, value in second.items()}}


def _expand(node: Node, schemas: Schemas) -> Node:
    """Write out an envelope or a body."""
    node = dict(node)
    for mark, status in ((_RESULT, "success"), (_ERROR, "error")):
        if mark in node:
            envelope = _envelope(status, node.pop(mark))
            plain = {"description": "Success.", "content": {JSON_TYPE: {"schema": envelope}}}
            node = _merge(plain, node)
    if _PARAMETERS in node:
        schema = node.pop(_PARAMETERS)
        form = {"schema": form_of(schema, schemas)}
        content = {JSON_TYPE: {"schema": schema}, FORM_TYPE: form, MULTIPART_TYPE: form}
        node = {**node, "content": content}
    return node


def _envelope(status: str, result: Node) -> Node:
    return {
        "type": "object",
        "required": ["message", "status", "version", "result"],
        "properties": {
            "message": {"type": "string"},
            "status": {"const": status},
            "version": {"type": "string"},
            "result": result,
        },
        "additionalProperties": False,
    }


def _complete(operation: Node, dialect: Dialect, *, is_named: bool) -> Node:
    """Add what an operation shares with others: responses, headers, security."""
    level = operation["x-abaco-level"]
    statuses = ["413", "500"]
    if level != OPEN:
        statuses += ["400", "503"]
        statuses += ["404"] if is_named else []
        statuses += ["401", "403"] if dialect.is_modern else []
    shared = {status: {"$ref": f"#/components/responses/{status}"} for status in statuses}
    responses = {**shared, **_with_headers(operation["responses"])}
    return {
        **operation,
        "responses": dict(sorted(responses.items())),
        "security": _security(level, dialect),
    }


def _with_headers(responses: Mapping[str, Node]) -> Node:
    return {
        status: response
        if "$ref" in response
        else {**response, "headers": {**_COMMON_HEADERS, **response.get("headers", {})}}
        for status, response in responses.items()
    }


def _security(level: str, dialect: Dialect) -> list[Node]:
    if level == OPEN:
        return []
    ways: list[Node] = [
        {name: []} for name in dialect.schemes if name != "nonce" or level != MEMBER
    ]
    return ways if dialect.is_guarded else [{}, *ways]
