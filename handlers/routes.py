"""The route table, and the application made of it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from tornado.httputil import HTTPServerRequest
from tornado.routing import PathMatches, Rule
from tornado.web import Application

from abaco.domain.permission import Level
from abaco.operations.access import Right, Scope
from abaco.operations.rotation import Rotation
from abaco.operations.services import Services
from abaco.settings import WebSettings
from handlers.access import log_request
from handlers.actors import ActorHandler, ActorsHandler
from handlers.admin import (
    AdminActorsHandler,
    AdminExecutionsHandler,
    AdminWorkersHandler,
    AuditHandler,
    UtilizationHandler,
)
from handlers.aliases import AliasesHandler, AliasHandler
from handlers.auth import make_authenticator
from handlers.base import BaseHandler, TooLargeHandler, UnknownPathHandler
from handlers.batches import BatchHandler
from handlers.configs import ConfigHandler, ConfigsHandler
from handlers.dashboard import DashboardHandler, load_template
from handlers.description import describe, dialect_of
from handlers.docs import (
    AssetHandler,
    DescriptionHandler,
    PageHandler,
    load_assets,
    load_page,
)
from handlers.entry import Entry, label_of
from handlers.executions import ExecutionHandler, ExecutionsHandler, LogsHandler, ResultsHandler
from handlers.intake import BoundedIntake
from handlers.keys import EncryptionKeyHandler
from handlers.messages import MessagesHandler
from handlers.search import SearchHandler
from handlers.sharing import NonceHandler, NoncesHandler, PermissionsHandler
from handlers.state import StateHandler
from handlers.system import AgentReports, Checks, HealthHandler, MetricsHandler, ReadyHandler
from handlers.uploads import BinaryMessagesHandler, is_upload
from handlers.workers import WorkerHandler, WorkersHandler

#: second segments with a meaning of their own; no actor's id or alias may stand there
_LITERALS = "aliases|configs|search|utilization|admin"

_ACTOR = f"/actors/(?!(?:{_LITERALS})(?:/|$))([^/]+)"
_MAILBOX = re.compile(f"{_ACTOR}/messages$")
_EXECUTION = f"{_ACTOR}/executions/([^/]+)"
_ALIAS = "/actors/aliases/([^/]+)"
_CONFIG = "/actors/configs/([^/]+)"


class Route(NamedTuple):
    """One path: who answers there, what each verb needs, and what the audit log calls it.

    A verb that changes something has an action, or None if the log does not record it: what
    users do with their own actors all day. So have verbs that only administrators may use.
    """

    path: str
    handler: type[BaseHandler]
    rights: Mapping[str, Right]
    actions: Mapping[str, str | None] = {}

    @property
    def entry(self) -> Entry:
        """What the handler is given."""
        return Entry(label=label_of(self.path), rights=self.rights, actions=self.actions)


_OPEN = Right(is_open=True)
_MEMBER = Right()
_ADMINS = Right(is_for_admins=True)
_READ = Right(scope=Scope.ACTOR, level=Level.READ)
_EXECUTE = Right(scope=Scope.ACTOR, level=Level.EXECUTE)
_UPDATE = Right(scope=Scope.ACTOR, level=Level.UPDATE)
_ALIAS_READ = Right(scope=Scope.ALIAS, level=Level.READ)
_ALIAS_UPDATE = Right(scope=Scope.ALIAS, level=Level.UPDATE)
_CONFIG_READ = Right(scope=Scope.CONFIG, level=Level.READ)
_CONFIG_UPDATE = Right(scope=Scope.CONFIG, level=Level.UPDATE)
#: nonces of an alias open its actor
_BOTH_UPDATE = Right(scope=Scope.ALIAS, level=Level.UPDATE, is_actor_too=True)

#: Paths without the version segment, see ``normalise``. The one place that says who may do what;
#: a verb that is not declared here is never run.
ROUTES: tuple[Route, ...] = (
    Route("/actors", ActorsHandler, {"GET": _MEMBER, "POST": _MEMBER}, {"POST": "actor.register"}),
    Route("/actors/utilization", UtilizationHandler, {"GET": _MEMBER}),
    Route("/actors/admin", AdminActorsHandler, {"GET": _ADMINS}, {"GET": "admin.actors"}),
    Route("/actors/admin/workers", AdminWorkersHandler, {"GET": _ADMINS}, {"GET": "admin.workers"}),
    Route(
        "/actors/admin/executions",
        AdminExecutionsHandler,
        {"GET": _ADMINS},
        {"GET": "admin.executions"},
    ),
    Route("/actors/admin/audit", AuditHandler, {"GET": _ADMINS}, {"GET": "admin.audit"}),
    Route(
        "/admin/dashboard",
        DashboardHandler,
        {"GET": _ADMINS, "POST": _ADMINS},
        {"GET": "admin.dashboard", "POST": None},
    ),
    Route(
        "/actors/aliases",
        AliasesHandler,
        {"GET": _MEMBER, "POST": _MEMBER},
        {"POST": "alias.create"},
    ),
    Route(
        _ALIAS,
        AliasHandler,
        {"GET": _ALIAS_READ, "PUT": _ALIAS_UPDATE, "DELETE": _ALIAS_UPDATE},
        {"PUT": "alias.repoint", "DELETE": "alias.delete"},
    ),
    Route(
        f"{_ALIAS}/permissions",
        PermissionsHandler,
        {"GET": _ALIAS_READ, "POST": _ALIAS_UPDATE},
        {"POST": "permission.grant"},
    ),
    # To list nonces is to hold them, so it takes as much as making one.
    Route(
        f"{_ALIAS}/nonces",
        NoncesHandler,
        {"GET": _BOTH_UPDATE, "POST": _BOTH_UPDATE},
        {"POST": "nonce.create"},
    ),
    Route(
        f"{_ALIAS}/nonces/([^/]+)",
        NonceHandler,
        {"GET": _BOTH_UPDATE, "DELETE": _BOTH_UPDATE},
        {"DELETE": "nonce.delete"},
    ),
    Route(
        "/actors/configs",
        ConfigsHandler,
        {"GET": _MEMBER, "POST": _MEMBER},
        {"POST": "config.create"},
    ),
    Route(
        _CONFIG,
        ConfigHandler,
        {"GET": _CONFIG_READ, "PUT": _CONFIG_UPDATE, "DELETE": _CONFIG_UPDATE},
        {"PUT": "config.update", "DELETE": "config.delete"},
    ),
    Route(
        f"{_CONFIG}/permissions",
        PermissionsHandler,
        {"GET": _CONFIG_READ, "POST": _CONFIG_UPDATE},
        {"POST": "permission.grant"},
    ),
    Route(
        "/actors/admin/encryption-key",
        EncryptionKeyHandler,
        {"GET": _ADMINS, "POST": _ADMINS},
        {"GET": "admin.key", "POST": "key.rotate"},
    ),
    Route("/actors/search/([^/]+)", SearchHandler, {"GET": _MEMBER}),
    Route(
        _ACTOR,
        ActorHandler,
        {"GET": _READ, "PUT": _UPDATE, "DELETE": _UPDATE},
        {"PUT": "actor.update", "DELETE": "actor.delete"},
    ),
    Route(f"{_ACTOR}/state", StateHandler, {"GET": _READ, "POST": _UPDATE}, {"POST": None}),
    Route(
        f"{_ACTOR}/messages",
        MessagesHandler,
        {"GET": _READ, "POST": _EXECUTE, "DELETE": _UPDATE},
        {"POST": None, "DELETE": "messages.purge"},
    ),
    Route(f"{_ACTOR}/messages/batch", BatchHandler, {"POST": _EXECUTE}, {"POST": None}),
    Route(f"{_ACTOR}/executions", ExecutionsHandler, {"GET": _READ}),
    Route(
        _EXECUTION,
        ExecutionHandler,
        {"GET": _READ, "DELETE": _UPDATE},
        {"DELETE": "execution.halt"},
    ),
    Route(f"{_EXECUTION}/logs", LogsHandler, {"GET": _READ}),
    Route(f"{_EXECUTION}/results", ResultsHandler, {"GET": _READ}),
    Route(
        f"{_ACTOR}/nonces",
        NoncesHandler,
        {"GET": _UPDATE, "POST": _UPDATE},
        {"POST": "nonce.create"},
    ),
    Route(
        f"{_ACTOR}/nonces/([^/]+)",
        NonceHandler,
        {"GET": _UPDATE, "DELETE": _UPDATE},
        {"DELETE": "nonce.delete"},
    ),
    Route(
        f"{_ACTOR}/permissions",
        PermissionsHandler,
        {"GET": _READ, "POST": _UPDATE},
        {"POST": "permission.grant"},
    ),
    Route(
        f"{_ACTOR}/workers",
        WorkersHandler,
        {"GET": _READ, "POST": _UPDATE},
        {"POST": "worker.ensure"},
    ),
    Route(
        f"{_ACTOR}/workers/([^/]+)",
        WorkerHandler,
        {"GET": _READ, "DELETE": _UPDATE},
        {"DELETE": "worker.drain"},
    ),
)

#: open to everybody: for whoever operates the service, or wants to know what it offers
OPERATING: tuple[Route, ...] = (
    Route("/health", HealthHandler, {"GET": _OPEN}),
    Route("/ready", ReadyHandler, {"GET": _OPEN}),
    Route("/openapi.json", DescriptionHandler, {"GET": _OPEN}),
    Route("/docs", PageHandler, {"GET": _OPEN}),
    Route("/docs/([^/]+)", AssetHandler, {"GET": _OPEN}),
)

#: open to everybody too, and therefore not for everybody: see ``[web] internal_port``
INTERNAL: tuple[Route, ...] = (Route("/metrics", MetricsHandler, {"GET": _OPEN}),)

#: of ``OPERATING``, what the internal port has as well
_CHECKS = tuple(route for route in OPERATING if route.path in ("/health", "/ready"))

_SLASHES = re.compile("/{2,}")
_VERSION = re.compile("^/actors/v2(?=/|$)")


def normalise(path: str) -> str:
    """Collapse slashes, drop one at the end, and the version that a gateway would strip."""
    collapsed = _SLASHES.sub("/", path)
    if len(collapsed) > 1:
        collapsed = collapsed.removesuffix("/")
    return _VERSION.sub("/actors", collapsed)


class UploadMatches(PathMatches):
    """Matches what a path alone does not tell: that the body is a binary message."""

    def match(self, request: HTTPServerRequest) -> dict[str, Any] | None:
        """Match by method and type, then by path."""
        return super().match(request) if is_upload(request) else None


class AbacoApplication(Application):
    """Tornado's application behind normalised paths and bounded bodies."""

    def __init__(self, routes: list[Any], common: dict[str, Any], web: WebSettings) -> None:
        super().__init__(
            routes,
            default_handler_class=UnknownPathHandler,
            default_handler_args={**common, "entry": Entry(label="unknown")},
            log_function=log_request,
        )
        self._too_large = {**common, "entry": Entry(label="too large")}
        self._web = web

    def find_handler(self, request: HTTPServerRequest, **kwargs: Any) -> Any:
        """Route a request; the type Tornado declares for the result is private."""
        request.path = normalise(request.path)
        limit = self._limit_bytes(request)
        too_large = {**self._too_large, "limit_bytes": limit}
        return BoundedIntake(
            request,
            super().find_handler(request, **kwargs),
            lambda: self.get_handler_delegate(request, TooLargeHandler, too_large),
            limit,
        )

    def _limit_bytes(self, request: HTTPServerRequest) -> int:
        """Return the limit of a body; a binary one of unknown length is refused anyway."""
        is_to_disk = is_upload(request) and _MAILBOX.fullmatch(request.path)
        if is_to_disk and "Content-Length" in request.headers:
            return self._web.max_content_length
        return self._web.max_body_length


def make_application(
    services: Services, *, agents: AgentReports, checks: Checks, rotation: Rotation
) -> Application:
    """Build the web application.

    Args:
        services: What the operations work with.
        agents: Tells the state of every supervised agent.
        checks: Finds out whether store and engine can be reached.
        rotation: Replaces the key of secrets.

    """
    # Whatever is wrong with them shows at the start.
    load_assets()
    load_page()
    load_template()
    internal = INTERNAL if services.settings.web.shows_metrics else ()
    more: Mapping[type[BaseHandler], dict[str, Any]] = {
        **_given_to_checks(agents, checks),
        EncryptionKeyHandler: {"rotation": rotation},
        DescriptionHandler: {"description": describe(dialect_of(services.settings.web))},
    }
    return _build(services, (*ROUTES, *OPERATING, *internal), more)


def make_internal_application(
    services: Services, *, agents: AgentReports, checks: Checks
) -> Application:
    """Build what ``[web] internal_port`` has; the arguments are those of ``make_application``."""
    return _build(services, (*_CHECKS, *INTERNAL), _given_to_checks(agents, checks))


def _given_to_checks(
    agents: AgentReports, checks: Checks
) -> Mapping[type[BaseHandler], dict[str, Any]]:
    return {
        HealthHandler: {"agents": agents},
        ReadyHandler: {"agents": agents, "checks": checks},
        MetricsHandler: {"agents": agents},
    }


def _build(
    services: Services,
    routes: Iterable[Route],
    more: Mapping[type[BaseHandler], dict[str, Any]],
) -> Application:
    """Build an application of some routes; ``more`` is what single handlers are given."""
    common = {
        "services": services,
        "authenticator": make_authenticator(services.settings, services.clock.now),
    }
    specs: list[Any] = [
        (route.path, route.handler, {**common, "entry": route.entry, **more.get(route.handler, {})})
        for route in routes
    ]
    uploads = [
        Rule(UploadMatches(_MAILBOX), BinaryMessagesHandler, {**common, "entry": route.entry})
        for route in routes
        if route.handler is MessagesHandler
    ]
    return AbacoApplication([*uploads, *specs], common, services.settings.web)
