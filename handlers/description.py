"""The description of the HTTP API: ``handlers/openapi/*.yaml``, finished for one configuration.

The files say what is particular to each route; the head of ``openapi.yaml`` tells what the keys
that begin with ``x-abaco-`` stand for. Here they become plain OpenAPI 3.1.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from importlib import resources
from typing import Any, NamedTuple

import yaml

import abaco
from abaco.domain.actor import DEFAULT_QUEUE
from abaco.errors import ConfigError
from abaco.settings import WebSettings
from handlers.parameters import FORM_TYPE, JSON_TYPE, MULTIPART_TYPE
from handlers.spelling import Case, dress, spell

#: what a file may say about an operation's level
OPEN, MEMBER, ADMIN = "open", "member", "admin"

_SPELLED, _OMITS_NULLS = "x-abaco-spelled", "x-abaco-omits-nulls"
_LIKE, _WITHOUT = "x-abaco-like", "x-abaco-without"
_RESULT, _ERROR = "x-abaco-result", "x-abaco-error"
_QUEUES = "x-abaco-queues"
_PARAMETERS, _JSON_ONLY = "x-abaco-parameters", "x-abaco-json-only"
_MARKS = frozenset({_SPELLED, _OMITS_NULLS, _JSON_ONLY, _LIKE, _WITHOUT})

_VERBS = ("get", "put", "post", "delete")
#: last name in a pointer to a response
_RESULT_NAME = re.compile(r"(?<=/)\w+$")
_COMMON_HEADERS = {
    "X-Request-Id": {"$ref": "#/components/headers/RequestId"},
    "Access-Control-Allow-Origin": {"$ref": "#/components/headers/AllowOrigin"},
}

Node = dict[str, Any]


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
    document = _change(document, lambda node: _list_queues(node, dialect.queues))
    components = document["components"]
    schemes = components["securitySchemes"]
    components["securitySchemes"] = {name: schemes[name] for name in dialect.schemes}
    schemas = components["schemas"]
    document = _change(document, lambda node: _derive(node, schemas))
    schemas = document["components"]["schemas"]
    document = _change(document, lambda node: _spell(node, dialect.case, schemas))
    schemas = document["components"]["schemas"]
    document = _change(document, lambda node: _expand(node, schemas))
    components = document["components"]
    components["responses"] = _with_headers(components["responses"])
    for path, item in document["paths"].items():
        for verb in _VERBS:
            if verb in item:
                item[verb] = _complete(item[verb], dialect, is_named="{" in path)
    return {name: _change(part, _unmark) for name, part in document.items()}


def _list_queues(node: Node, queues: tuple[str, ...]) -> Node:
    """Put the names of the queues there are into a list of values."""
    if not node.get(_QUEUES):
        return node
    return {key: value for key, value in node.items() if key != _QUEUES} | {
        "enum": [*queues, *node["enum"]]
    }


def _unmark(node: Node) -> Node:
    return {key: value for key, value in node.items() if key not in _MARKS}


def _change(node: Any, change: Callable[[Node], Node]) -> Any:
    """Return a copy in which every object is changed, inner ones first."""
    if isinstance(node, dict):
        return change({key: _change(value, change) for key, value in node.items()})
    if isinstance(node, list):
        return [_change(item, change) for item in node]
    return node


def _merge(first: Any, second: Any) -> Any:
    """Merge two trees; the second wins where both say something."""
    if not (isinstance(first, dict) and isinstance(second, dict)):
        return second
    return {**first, **{key: _merge(first.get(key), value) for key, value in second.items()}}


def _derive(node: Node, schemas: Mapping[str, Node]) -> Node:
    """Write out a schema that is like another one."""
    if _LIKE not in node:
        return node
    others = schemas[node[_LIKE]]["properties"]
    kept = {name: schema for name, schema in others.items() if name not in node.get(_WITHOUT, ())}
    properties = {**kept, **node.get("properties", {})}
    return {**node, _SPELLED: True, "required": list(properties), "properties": properties}


def _spell(node: Node, case: Case, schemas: Mapping[str, Node]) -> Node:
    """Spell the names of a schema's properties, of a parameter, or those a link points at."""
    if "operationId" in node and "x-abaco-level" not in node:
        return {**node, "parameters": _spell_link(node.get("parameters", {}), case)}
    if _SPELLED not in node or case == "snake":
        return node
    if "properties" not in node:
        return {**node, "name": spell(node["name"], case)}
    omits_nulls = node.get(_OMITS_NULLS, False)
    left_out = {
        name
        for name, schema in node["properties"].items()
        if omits_nulls and _may_be_null(schema, schemas)
    }
    spelled = {
        **node,
        "properties": {
            spell(name, case): _without_null(schema, schemas) if name in left_out else schema
            for name, schema in node["properties"].items()
        },
    }
    if "required" in node:
        needed = [spell(name, case) for name in node["required"] if name not in left_out]
        spelled["required"] = needed
    if "examples" in node:
        spelled["examples"] = [
            dress(example, case, keep_nulls=not omits_nulls) for example in node["examples"]
        ]
    return spelled


def _spell_link(parameters: Mapping[str, str], case: Case) -> Node:
    return {
        name: _RESULT_NAME.sub(lambda found: spell(found[0], case), source)
        for name, source in parameters.items()
    }


def _may_be_null(schema: Node, schemas: Mapping[str, Node]) -> bool:
    if "$ref" in schema:
        return _may_be_null(_resolve(schema, schemas), schemas)
    if "anyOf" in schema:
        return any(_may_be_null(each, schemas) for each in schema["anyOf"])
    if "type" in schema:
        return "null" in schema["type"]
    if "enum" in schema:
        return None in schema["enum"]
    return "const" not in schema


def _without_null(schema: Node, schemas: Mapping[str, Node]) -> Node:
    """Return a schema for the same values but null."""
    schema = _resolve(schema, schemas)
    if "anyOf" in schema:
        rest = [
            _without_null(each, schemas) if _may_be_null(each, schemas) else each
            for each in schema["anyOf"]
            if each.get("type") != "null"
        ]
        return {**schema, "anyOf": rest}
    if "type" in schema:
        return {**schema, "type": [each for each in schema["type"] if each != "null"]}
    if "enum" in schema:
        return {**schema, "enum": [each for each in schema["enum"] if each is not None]}
    return {**schema, "not": {"type": "null"}}


def _resolve(schema: Node, schemas: Mapping[str, Node]) -> Node:
    """Put the schema that is referred to in place, under what is said beside the reference."""
    if "$ref" not in schema:
        return schema
    beside = {key: value for key, value in schema.items() if key != "$ref"}
    return {**schemas[schema["$ref"].removeprefix("#/components/schemas/")], **beside}


def _expand(node: Node, schemas: Mapping[str, Node]) -> Node:
    """Write out an envelope or a body."""
    node = dict(node)
    for mark, status in ((_RESULT, "success"), (_ERROR, "error")):
        if mark in node:
            envelope = _envelope(status, node.pop(mark))
            plain = {"description": "Success.", "content": {JSON_TYPE: {"schema": envelope}}}
            node = _merge(plain, node)
    if _PARAMETERS in node:
        schema = node.pop(_PARAMETERS)
        form = {"schema": _form_of(schema, schemas)}
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


def _form_of(schema: Node, schemas: Mapping[str, Node]) -> Node:
    """Leave out what cannot be in a form: nulls, and values that are no texts."""
    whole = _resolve(schema, schemas)
    hidden = {name for name, part in whole["properties"].items() if part.get(_JSON_ONLY)}
    properties = {
        name: _field_of(part, schemas)
        for name, part in whole["properties"].items()
        if name not in hidden
    }
    examples = [
        {name: value for name, value in example.items() if name not in hidden}
        for example in whole.get("examples", [])
    ]
    return {**whole, "properties": properties, "examples": examples}


def _field_of(schema: Node, schemas: Mapping[str, Node]) -> Node:
    if _may_be_null(schema, schemas):
        schema = _without_null(schema, schemas)
    if isinstance(schema.get("type"), list):
        texts = [each for each in schema["type"] if each not in ("object", "array")]
        return {**schema, "type": texts}
    return schema


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
