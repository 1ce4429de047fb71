"""The route table, and the application made of it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from tornado.httputil import HTTPServerRequest
from tornado.web import Application

from abaco.domain.permission import Level
from abaco.operations.access import Right, Scope
from abaco.operations.rotation import Rotation
from abaco.operations.services import Services
from handlers.actors import ActorHandler, ActorsHandler
from handlers.aliases import AliasesHandler, AliasHandler
from handlers.auth import make_authenticator
from handlers.base import BaseHandler, TooLargeHandler, UnknownPathHandler, log_request
from handlers.batches import BatchHandler
from handlers.configs import ConfigHandler, ConfigsHandler
from handlers.description import describe, dialect_of
from handlers.docs import (
    AssetHandler,
    DescriptionHandler,
    PageHandler,
    load_assets,
    load_page,
)
from handlers.executions import ExecutionHandler, ExecutionsHandler, LogsHandler, ResultsHandler
from handlers.intake import BoundedIntake
from handlers.keys import EncryptionKeyHandler
from handlers.messages import MessagesHandler
from handlers.search import SearchHandler
from handlers.sharing import NonceHandler, NoncesHandler, PermissionsHandler
from handlers.state import StateHandler
from handlers.system import AgentReports, Checks, HealthHandler, MetricsHandler, ReadyHandler
from handlers.workers import WorkerHandler, WorkersHandler

#: second segments with a meaning of their own; no actor's id or alias may stand there
_LITERALS = "aliases|configs|search|utilization|admin"

_ACTOR = f"/actors/(?!(?:{_LITERALS})(?:/|$))([^/]+)"
_EXECUTION = f"{_ACTOR}/executions/([^/]+)"
_ALIAS = "/actors/aliases/([^/]+)"
_CONFIG = "/actors/configs/([^/]+)"


class Route(NamedTuple):
    """One path: who answers there, and what each verb needs."""

    path: str
    handler: type[BaseHandler]
    rights: Mapping[str, Right]


_OPEN = Right(is_open=True)
_MEMBER = Right()
_ADMINS = Right(is_for_admins=True)
_ADMIN = Right(scope=Scope.ACTOR, is_for_admins=True)
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
    Route("/actors", ActorsHandler, {"GET": _MEMBER, "POST": _MEMBER}),
    Route("/actors/aliases", AliasesHandler, {"GET": _MEMBER, "POST": _MEMBER}),
    Route(
        _ALIAS,
        AliasHandler,
        {"GET": _ALIAS_READ, "PUT": _ALIAS_UPDATE, "DELETE": _ALIAS_UPDATE},
    ),
    Route(f"{_ALIAS}/permissions", PermissionsHandler, {"GET": _ALIAS_READ, "POST": _ALIAS_UPDATE}),
    # To list nonces is to hold them, so it takes as much as making one.
    Route(f"{_ALIAS}/nonces", NoncesHandler, {"GET": _BOTH_UPDATE, "POST": _BOTH_UPDATE}),
    Route(f"{_ALIAS}/nonces/([^/]+)", NonceHandler, {"GET": _BOTH_UPDATE, "DELETE": _BOTH_UPDATE}),
    Route("/actors/configs", ConfigsHandler, {"GET": _MEMBER, "POST": _MEMBER}),
    Route(
        _CONFIG,
        ConfigHandler,
        {"GET": _CONFIG_READ, "PUT": _CONFIG_UPDATE, "DELETE": _CONFIG_UPDATE},
    ),
    Route(
        f"{_CONFIG}/permissions",
        PermissionsHandler,
        {"GET": _CONFIG_READ, "POST": _CONFIG_UPDATE},
    ),
    Route("/actors/admin/encryption-key", EncryptionKeyHandler, {"GET": _ADMINS, "POST": _ADMINS}),
    Route("/actors/search/([^/]+)", SearchHandler, {"GET": _MEMBER}),
    Route(_ACTOR, ActorHandler, {"GET": _READ, "PUT": _UPDATE, "DELETE": _UPDATE}),
    Route(f"{_ACTOR}/state", StateHandler, {"GET": _READ, "POST": _UPDATE}),
    Route(
        f"{_ACTOR}/messages",
        MessagesHandler,
        {"GET": _READ, "POST": _EXECUTE, "DELETE": _UPDATE},
    ),
    Route(f"{_ACTOR}/messages/batch", BatchHandler, {"POST": _EXECUTE}),
    Route(f"{_ACTOR}/executions", ExecutionsHandler, {"GET": _READ}),
    Route(_EXECUTION, ExecutionHandler, {"GET": _READ, "DELETE": _UPDATE}),
    Route(f"{_EXECUTION}/logs", LogsHandler, {"GET": _READ}),
    Route(f"{_EXECUTION}/results", ResultsHandler, {"GET": _READ}),
    Route(f"{_ACTOR}/nonces", NoncesHandler, {"GET": _UPDATE, "POST": _UPDATE}),
    Route(f"{_ACTOR}/nonces/([^/]+)", NonceHandler, {"GET": _UPDATE, "DELETE": _UPDATE}),
    Route(f"{_ACTOR}/permissions", PermissionsHandler, {"GET": _READ, "POST": _UPDATE}),
    Route(f"{_ACTOR}/workers", WorkersHandler, {"GET": _READ, "POST": _ADMIN}),
    Route(f"{_ACTOR}/workers/([^/]+)", WorkerHandler, {"GET": _READ, "DELETE": _UPDATE}),
)

#: open to everybody: for whoever operates the service, or wants to know what it offers
OPERATING: tuple[Route, ...] = (
    Route("/health", HealthHandler, {"GET": _OPEN}),
    Route("/ready", ReadyHandler, {"GET": _OPEN}),
    Route("/metrics", MetricsHandler, {"GET": _OPEN}),
    Route("/openapi.json", DescriptionHandler, {"GET": _OPEN}),
    Route("/docs", PageHandler, {"GET": _OPEN}),
    Route("/docs/([^/]+)", AssetHandler, {"GET": _OPEN}),
)

_SLASHES = re.compile("/{2,}")
_VERSION = re.compile("^/actors/v2(?=/|$)")


def normalise(path: str) -> str:
    """Collapse slashes, drop one at the end, and the version that a gateway would strip."""
    collapsed = _SLASHES.sub("/", path)
    if len(collapsed) > 1:
        collapsed = collapsed.removesuffix("/")
    return _VERSION.sub("/actors", collapsed)


class AbacoApplication(Application):
    """Tornado's application behind normalised paths and bounded bodies."""

    def __init__(self, routes: list[Any], common: dict[str, Any], max_body_bytes: int) -> None:
        super().__init__(
            routes,
            default_handler_class=UnknownPathHandler,
            default_handler_args=common,
            log_function=log_request,
        )
        self._common = common
        self._max_body_bytes = max_body_bytes

    def find_handler(self, request: HTTPServerRequest, **kwargs: Any) -> Any:
        """Route a request; the type Tornado declares for the result is private."""
        request.path = normalise(request.path)
        return BoundedIntake(
            request,
            super().find_handler(request, **kwargs),
            lambda: self.get_handler_delegate(request, TooLargeHandler, self._common),
            self._max_body_bytes,
        )


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
    common = {
        "services": services,
        "authenticator": make_authenticator(services.settings, services.clock.now),
    }
    more: Mapping[type[BaseHandler], dict[str, Any]] = {
        HealthHandler: {"agents": agents},
        EncryptionKeyHandler: {"rotation": rotation},
        ReadyHandler: {"agents": agents, "checks": checks},
        DescriptionHandler: {"description": describe(dialect_of(services.settings.web))},
    }
    routes: list[Any] = [
        (path, handler, {**common, "rights": rights, **more.get(handler, {})})
        for path, handler, rights in (*ROUTES, *OPERATING)
    ]
    limit = services.settings.web.max_content_length
    return AbacoApplication(routes, {**common, "rights": {}}, limit)
