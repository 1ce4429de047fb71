"""Gives made-up requests something to meet: names that exist, in most of those that are valid.

Schemathesis imports this; the server's address is in the request, the token in the environment.
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Callable, Mapping
from typing import Any

import schemathesis
import urllib3
from schemathesis.core.parameters import ParameterLocation
from schemathesis.generation.modes import GenerationMode

#: how often a name is left as it was made up: once in so many
STRANGERS = 4

#: fields of bodies that name an actor
ACTOR_FIELDS = ("actor_id", "actorId")

#: a switch and its field, whose dates may be none, or past
SCHEDULE_FIELDS = {"cron_on": "cron_schedule", "cronOn": "cronSchedule"}
SCHEDULE = "2078-09-6 20 + 3 months"

#: Fields of bodies that would let the server call others. Only wrong values are sent as made up.
WEBHOOK_FIELDS = ("webhook", "webhook_secret", "webhookSecret")

Names = Mapping[str, str]


class Objects:
    """What exists on the server. One actor and one alias are kept; the rest is made when asked."""

    def __init__(self, base: str) -> None:
        self._base = base
        self._pool = urllib3.PoolManager(retries=False)
        header, _, token = os.environ.get("ABACO_FUZZ_HEADER", "").partition(":")
        self._headers = {header: token} if header else {}
        self._count = 0
        self.kept: dict[str, str] = {}
        self.makers: dict[str, Callable[[Names], str]] = {
            "actor": self.make_actor,
            "alias": self.make_alias,
            "config": self.make_config,
            "execution": self.make_execution,
            "nonce": self.make_nonce,
            "worker": self.make_worker,
        }

    def keep(self) -> None:
        """Make the kept ones again if they are gone: requests may hit upon their names."""
        if not self._is_there("actor", "/actors"):
            self.kept["actor"] = self.make_actor({})
        if not self._is_there("alias", "/actors/aliases"):
            self.kept["alias"] = self.make_alias({})

    def _is_there(self, kind: str, above: str) -> bool:
        name = self.kept.get(kind)
        url = f"{self._base}{above}/{name}"
        return name is not None and self._send("GET", url, None).status == 200

    def name(self, kind: str, others: Names, *, is_deleting: bool) -> str:
        """Name one object of this kind that exists; a new one when it is going to be deleted."""
        if kind in self.kept and not is_deleting:
            return self.kept[kind]
        return self.makers[kind](others)

    def fresh_name(self) -> str:
        """Return a name that nothing has."""
        self._count += 1
        return f"name-{os.getpid()}-{self._count}"

    def make_actor(self, others: Names) -> str:
        return str(self._call("/actors", {"image": "busybox", "stateless": False})["id"])

    def make_alias(self, others: Names) -> str:
        body = {"alias": self.fresh_name(), "actor_id": self.kept["actor"]}
        return str(self._call("/actors/aliases", body)["alias"])

    def make_config(self, others: Names) -> str:
        body = {"name": self.fresh_name(), "value": "v", "is_secret": True}
        return str(self._call("/actors/configs", {**body, "actors": self.kept["actor"]})["name"])

    def make_execution(self, others: Names) -> str:
        posted = self._call(f"/actors/{others['actor']}/messages", {"message": "hello"})
        return str(posted.get("execution_id") or posted["executionId"])

    def make_nonce(self, others: Names) -> str:
        target = f"aliases/{others['alias']}" if "alias" in others else others["actor"]
        return str(self._call(f"/actors/{target}/nonces", {})["id"])

    def make_worker(self, others: Names) -> str:
        self._call(f"/actors/{others['actor']}/workers", {"num": 2})
        return str(self._call(f"/actors/{others['actor']}/workers", None, "GET")[0]["id"])

    def _send(self, method: str, url: str, body: Any) -> Any:
        return self._pool.request(method, url, json=body, headers=self._headers)

    def _call(self, path: str, body: Any, method: str = "POST") -> Any:
        reply = self._send(method, self._base + path, body)
        envelope = json.loads(reply.data)
        assert reply.status == 200, envelope
        return envelope["result"]


_objects: dict[str, Objects] = {}


def _is_valid(case: Any, location: ParameterLocation) -> bool:
    part = case.meta.components.get(location, case.meta.generation)
    return part.mode is GenerationMode.POSITIVE


def _is_chosen(value: Any) -> bool:
    return zlib.crc32(str(value).encode()) % STRANGERS != 0


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: dict[str, Any]) -> None:
    """Put names that exist in the place of most made-up ones; chains of calls have their own."""
    if case.meta is None:
        return
    base = case.operation.base_url.rstrip("/")
    objects = _objects.setdefault(base, Objects(base))
    if case.path.startswith("/actors"):
        objects.keep()
    is_in_chain = case.meta.phase.name.value == "stateful"
    if is_in_chain:
        # What comes of a message names no execution that a chain could go on with, and a search
        # has another form than a list.
        case.query.pop("_abaco_synchronous", None)
        if case.operation.definition.raw.get("operationId", "").startswith("list"):
            case.query.clear()
    elif _is_valid(case, ParameterLocation.PATH):
        _name_what_exists(case, objects)
    if _is_valid(case, ParameterLocation.BODY) and isinstance(case.body, dict):
        _mend_body(case, objects)


def _name_what_exists(case: Any, objects: Objects) -> None:
    last = case.path.rpartition("/")[2].strip("{}")
    for kind, value in dict(case.path_parameters).items():
        # What is named last exists only below what is kept.
        if kind in objects.makers and (_is_chosen(value) or kind != last):
            is_deleting = case.method == "DELETE" and kind == last
            others = {name: objects.kept.get(name, "") for name in case.path_parameters}
            case.path_parameters[kind] = objects.name(kind, others, is_deleting=is_deleting)


def _mend_body(case: Any, objects: Objects) -> None:
    """Say what no schema can: that names exist, or are free, or can be shown."""
    body = case.body
    for field in ACTOR_FIELDS:
        if field in body and _is_chosen(body[field]):
            body[field] = objects.kept["actor"]
    if "alias" in body:
        body["alias"] = objects.fresh_name()
    if "actors" in body:
        body["actors"], body["name"] = objects.kept["actor"], objects.fresh_name()
    if isinstance(body.get("image"), float):
        body["image"] = "busybox"
    for switch, field in SCHEDULE_FIELDS.items():
        if body.get(field) or body.get(switch):
            body[field] = SCHEDULE
    if body.get("link"):
        body["link"] = objects.kept["actor"]
    for field in WEBHOOK_FIELDS:
        if field in body:
            body[field] = ""
    if not str(body.get("user", "jane")).isprintable():
        body["user"] = "jane"
    if case.media_type == "multipart/form-data":
        # Names of its fields stand in headers.
        case.body = {name: value for name, value in body.items() if _is_plain(name)}


@schemathesis.deserializer("application/octet-stream", "image/png")
def read_bytes(context: Any, response: Any) -> str:
    """Return a character for each byte; what validates is for JSON."""
    return str(response.content.decode("latin-1"))


@schemathesis.deserializer("text/html")
def read_text(context: Any, response: Any) -> str:
    """Return a text as it is."""
    return str(response.text)


def _is_plain(name: str) -> bool:
    return name.isascii() and name.isidentifier()
