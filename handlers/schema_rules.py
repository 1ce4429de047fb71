"""What becomes of the schemas of the description: their names, their nulls, their forms."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from handlers.spelling import Case, dress, spell

_SPELLED, _OMITS_NULLS = "x-abaco-spelled", "x-abaco-omits-nulls"
_LIKE, _WITHOUT = "x-abaco-like", "x-abaco-without"
_JSON_ONLY = "x-abaco-json-only"

#: keys that say how a schema is written out, and are not served
MARKS = frozenset({_SPELLED, _OMITS_NULLS, _JSON_ONLY, _LIKE, _WITHOUT})

#: last name in a pointer to a response
_RESULT_NAME = re.compile(r"(?<=/)\w+$")

Node = dict[str, Any]
#: schemas by name, for what refers to them
Schemas = Mapping[str, Node]


def change(node: Any, how: Callable[[Node], Node]) -> Any:
    """Return a copy in which every object is changed, inner ones first."""
    if isinstance(node, dict):
        return how({key: change(value, how) for key, value in node.items()})
    if isinstance(node, list):
        return [change(item, how) for item in node]
    return node


def derive(node: Node, schemas: Schemas) -> Node:
    """Write out a schema that is like another one."""
    if _LIKE not in node:
        return node
    like = schemas[node[_LIKE]]
    others, own = like["properties"], node.get("properties", {})
    kept = {name: schema for name, schema in others.items() if name not in node.get(_WITHOUT, ())}
    properties = {**kept, **own}
    # what may be missing there may be missing here
    needed: Any = like.get("required", others)
    required = [name for name in properties if name in needed or name in own]
    return {**node, _SPELLED: True, "required": required, "properties": properties}


def spell_names(node: Node, case: Case, schemas: Schemas) -> Node:
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


def _may_be_null(schema: Node, schemas: Schemas) -> bool:
    if "$ref" in schema:
        return _may_be_null(_resolve(schema, schemas), schemas)
    if "anyOf" in schema:
        return any(_may_be_null(each, schemas) for each in schema["anyOf"])
    if "type" in schema:
        return "null" in schema["type"]
    if "enum" in schema:
        return None in schema["enum"]
    return "const" not in schema


def _without_null(schema: Node, schemas: Schemas) -> Node:
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


def _resolve(schema: Node, schemas: Schemas) -> Node:
    """Put the schema that is referred to in place, under what is said beside the reference."""
    if "$ref" not in schema:
        return schema
    beside = {key: value for key, value in schema.items() if key != "$ref"}
    return {**schemas[schema["$ref"].removeprefix("#/components/schemas/")], **beside}


def form_of(schema: Node, schemas: Schemas) -> Node:
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


def _field_of(schema: Node, schemas: Schemas) -> Node:
    if _may_be_null(schema, schemas):
        schema = _without_null(schema, schemas)
    if isinstance(schema.get("type"), list):
        texts = [each for each in schema["type"] if each not in ("object", "array")]
        return {**schema, "type": texts}
    return schema
