"""The route table, and the application made of it."""

from __future__ import annotations

import re
from typing import Any

from tornado.httputil import HTTPServerRequest
from tornado.web import Application

from abaco.operations.services import Services
from handlers.actors import ActorHandler, ActorsHandler
from handlers.auth import make_authenticator
from handlers.base import BaseHandler, TooLargeHandler, UnknownPathHandler, log_request
from handlers.executions import ExecutionHandler, ExecutionsHandler, LogsHandler, ResultsHandler
from handlers.intake import BoundedIntake
from handlers.messages import MessagesHandler
from handlers.state import StateHandler
from handlers.system import AgentReports, Checks, HealthHandler, MetricsHandler, ReadyHandler
from handlers.workers import WorkerHandler, WorkersHandler

_ACTOR = "/actors/([^/]+)"
_EXECUTION = f"{_ACTOR}/executions/([^/]+)"

#: paths without the version segment, see ``normalise``
ROUTES: tuple[tuple[str, type[BaseHandler]], ...] = (
    ("/actors", ActorsHandler),
    (_ACTOR, ActorHandler),
    (f"{_ACTOR}/state", StateHandler),
    (f"{_ACTOR}/messages", MessagesHandler),
    (f"{_ACTOR}/executions", ExecutionsHandler),
    (_EXECUTION, ExecutionHandler),
    (f"{_EXECUTION}/logs", LogsHandler),
    (f"{_EXECUTION}/results", ResultsHandler),
    (f"{_ACTOR}/workers", WorkersHandler),
    (f"{_ACTOR}/workers/([^/]+)", WorkerHandler),
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


def make_application(services: Services, *, agents: AgentReports, checks: Checks) -> Application:
    """Build the web application.

    Args:
        services: What the operations work with.
        agents: Tells the state of every supervised agent.
        checks: Finds out whether store and engine can be reached.

    """
    authenticator = make_authenticator(services.settings, services.clock.now)
    common: dict[str, Any] = {"services": services, "authenticator": authenticator}
    with_agents = {**common, "agents": agents}
    routes: list[Any] = [(path, handler, common) for path, handler in ROUTES]
    routes += [
        ("/health", HealthHandler, with_agents),
        ("/ready", ReadyHandler, {**with_agents, "checks": checks}),
        ("/metrics", MetricsHandler, common),
    ]
    return AbacoApplication(routes, common, services.settings.web.max_content_length)
