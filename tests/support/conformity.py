"""Holds every request and response of a test against the description of the interface."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any
from urllib.parse import parse_qs

import jsonschema_rs
from tornado.httputil import HTTPHeaders, parse_body_arguments

from handlers.description import Dialect, describe
from handlers.routes import normalise
from handlers.spelling import spell

BASE = "abaco:description"
JSON = "application/json"
FORM = "application/x-www-form-urlencoded"
MULTIPART = "multipart/form-data"

#: operations that take a body of any type, if it reads as JSON
ANY_TYPE = ("postMessage",)


class NotAsDescribedError(AssertionError):
    """Server and description disagree."""


class Conformity:
    """The judge for one dialect."""

    def __init__(self, dialect: Dialect) -> None:
        self.case = dialect.case
        self.document: dict[str, Any] = json.loads(describe(dialect))
        self._registry = jsonschema_rs.Registry(
            [(BASE, self.document)], draft=jsonschema_rs.Draft202012
        )
        self._validators: dict[tuple[str, ...], Any] = {}
        # Literal segments win over names, as the route table has it.
        templates = sorted(self.document["paths"], key=lambda path: path.count("{"))
        self._paths = [(re.compile(re.sub(r"{\w+}", "[^/]+", path)), path) for path in templates]

    def find(self, path: str) -> str | None:
        """Return the template of a path, None when it is not described."""
        wanted = normalise(path)
        return next((name for pattern, name in self._paths if pattern.fullmatch(wanted)), None)

    def check(
        self,
        method: str,
        url: str,
        sent: HTTPHeaders,
        body: bytes,
        status: int,
        headers: HTTPHeaders,
        reply: bytes,
    ) -> None:
        """Raise NotAsDescribedError unless request and response are as described."""
        path, _, query = url.partition("?")
        template = self.find(path)
        verb = "get" if method == "HEAD" else method.lower()
        if template is None or verb not in self.document["paths"][template]:
            if method != "OPTIONS" and status not in (404, 405, 413):
                raise NotAsDescribedError(f"{method} {url} is not described, yet answered {status}")
            return
        place = ("paths", template, verb)
        if status < 300:
            self._check_query(place, query)
            self._check_body(place, sent, body, query)
        self._check_response(place, status, headers, None if method == "HEAD" else reply)

    def _check_query(self, place: tuple[str, ...], query: str) -> None:
        values = parse_qs(query, keep_blank_values=True)
        operation = self._at(place)
        for index, parameter in enumerate(operation.get("parameters", [])):
            where: tuple[str, ...] = (*place, "parameters", str(index))
            if "$ref" in parameter:
                where = tuple(parameter["$ref"].removeprefix("#/").split("/"))
                parameter = self._at(where)
            if parameter["in"] == "query" and parameter["name"] in values:
                value = values[parameter["name"]][0]
                is_number = parameter["schema"].get("type") in ("number", "integer")
                read = json.loads(value) if is_number else value
                self._validate((*where, "schema"), read, "query")

    def _check_body(
        self, place: tuple[str, ...], sent: HTTPHeaders, body: bytes, query: str
    ) -> None:
        described = self._at(place).get("requestBody")
        if described is None:
            return
        kind = sent.get("Content-Type", "").partition(";")[0].strip().lower()
        is_json = not kind or kind.endswith("+json") or not body.strip()
        if is_json or (self._at(place)["operationId"] in ANY_TYPE and _reads_as_json(body)):
            kind = JSON
        if kind not in described["content"]:
            raise NotAsDescribedError(f"{place[1:]}: a body of type {kind} was accepted")
        where = (*place, "requestBody", "content", kind, "schema")
        value = self._read(kind, sent, body)
        if isinstance(value, dict):
            asked = {name: found[0] for name, found in parse_qs(query).items()}
            value = {**self._spelled(where, asked), **self._spelled(where, value)}
        self._validate(where, value, "request")

    def _spelled(self, where: tuple[str, ...], value: Mapping[str, Any]) -> dict[str, Any]:
        """Spell names as described, in which case they win; nulls are as good as absent."""
        schema = self._at(where)
        if "$ref" in schema:
            schema = self._at(tuple(schema["$ref"].removeprefix("#/").split("/")))
        names = schema.get("properties", {})
        other = {spell(name, "camel"): name for name in names}
        other |= {name: spell(name, "camel") for name in value if spell(name, "camel") in names}
        given = {name: item for name, item in value.items() if item is not None}
        return {**{other.get(name, name): item for name, item in given.items()}, **given}

    def _read(self, kind: str, sent: HTTPHeaders, body: bytes) -> Any:
        if kind not in (FORM, MULTIPART):
            # What is no JSON is taken as a string, where it is taken.
            return (
                json.loads(body)
                if _reads_as_json(body)
                else body.decode(errors="replace").strip() or {}
            )
        if kind == FORM:
            read = parse_qs(body.decode(), keep_blank_values=True)
        else:
            read = _read_multipart(sent["Content-Type"], body)
        return {
            name: values if name == "hints" and len(values) > 1 else values[0]
            for name, values in read.items()
        }

    def _check_response(
        self, place: tuple[str, ...], status: int, headers: HTTPHeaders, reply: bytes | None
    ) -> None:
        where = (*place, "responses", str(status))
        if str(status) not in self._at(place)["responses"]:
            raise NotAsDescribedError(f"{place[1:]}: status {status} is not described")
        response = self._at(where)
        if "$ref" in response:
            where = tuple(response["$ref"].removeprefix("#/").split("/"))
            response = self._at(where)
        for name, header in response["headers"].items():
            named = (*where, "headers", name)
            if "$ref" in header:
                named = tuple(header["$ref"].removeprefix("#/").split("/"))
                header = self._at(named)
            if name in headers:
                self._validate_header((*named, "schema"), headers[name], header)
            elif header.get("required"):
                raise NotAsDescribedError(f"{place[1:]}: no header {name} on {status}")
        if "content" not in response:
            if reply:
                raise NotAsDescribedError(f"{place[1:]}: {status} with a body")
            return
        kind = headers.get("Content-Type", "").partition(";")[0]
        if kind not in response["content"]:
            raise NotAsDescribedError(f"{place[1:]}: {status} with a body of type {kind!r}")
        if kind == JSON and reply is not None:
            self._validate((*where, "content", kind, "schema"), json.loads(reply), f"{status}")

    def _validate_header(self, where: tuple[str, ...], text: str, header: Any) -> None:
        value = int(text) if header["schema"]["type"] == "integer" else text
        self._validate(where, value, "header")

    def _at(self, place: tuple[str, ...]) -> Any:
        node: Any = self.document
        for step in place:
            node = node[int(step)] if isinstance(node, list) else node[step]
        return node

    def _validate(self, place: tuple[str, ...], value: Any, what: str) -> None:
        validator = self._validators.get(place)
        if validator is None:
            pointer = "".join(f"/{step.replace('~', '~0').replace('/', '~1')}" for step in place)
            schema = {"$ref": f"{BASE}#{pointer.replace('{', '%7B').replace('}', '%7D')}"}
            validator = self._validators[place] = jsonschema_rs.Draft202012Validator(
                schema, registry=self._registry, validate_formats=True
            )
        faults = list(_faults(validator, value))
        if faults:
            raise NotAsDescribedError(f"{' '.join(place)}: {what} {value!r:.500}: {faults}")


def _read_multipart(kind: str, body: bytes) -> dict[str, list[str]]:
    arguments: dict[str, list[bytes]] = {}
    parse_body_arguments(f"{MULTIPART};{kind.partition(';')[2]}", body, arguments, {})
    return {name: [value.decode() for value in found] for name, found in arguments.items()}


def _reads_as_json(body: bytes) -> bool:
    try:
        json.loads(body)
    except ValueError:
        return False
    return True


def _faults(validator: Any, value: Any) -> Iterator[str]:
    if not validator.is_valid(value):
        for error in validator.iter_errors(value):
            yield f"{'/'.join(map(str, error.instance_path))}: {error.message}"


@lru_cache(maxsize=8)
def conformity(dialect: Dialect) -> Conformity:
    """Return the judge for a dialect; one is enough for all tests."""
    return Conformity(dialect)
