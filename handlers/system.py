"""/health, /ready and /metrics: for whoever operates the service, without authentication."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from abaco.domain.health import AgentReport, CheckReport
from abaco.operations.exposition import CONTENT_TYPE, expose
from abaco.operations.services import Services
from handlers.auth import Authenticator
from handlers.base import BaseHandler
from handlers.entry import Entry
from handlers.rendering import render_agents, render_checks

AgentReports = Callable[[], list[AgentReport]]
Checks = Callable[[], Awaitable[list[CheckReport]]]


class HealthHandler(BaseHandler):
    """Liveness: the process answers."""

    def initialize(  # type: ignore[override] # this route is given more than others
        self,
        services: Services,
        authenticator: Authenticator,
        entry: Entry,
        agents: AgentReports,
    ) -> None:
        """Take what the route table hands in."""
        super().initialize(services, authenticator, entry)
        self._agents = agents

    async def get(self) -> None:
        """Answer 200, with the state of every agent."""
        self.reply({"agents": render_agents(self._agents())}, "Abaco is alive.")


class ReadyHandler(BaseHandler):
    """Readiness: the parts it needs can be reached."""

    def initialize(  # type: ignore[override] # this route is given more than others
        self,
        services: Services,
        authenticator: Authenticator,
        entry: Entry,
        agents: AgentReports,
        checks: Checks,
    ) -> None:
        """Take what the route table hands in."""
        super().initialize(services, authenticator, entry)
        self._agents = agents
        self._checks = checks

    async def get(self) -> None:
        """Answer 200, or 503 with what is missing."""
        checks = await self._checks()
        agents = render_agents(self._agents())
        result = {"checks": render_checks(checks), "agents": agents}
        missing = [check.name for check in checks if not check.is_ok]
        if missing:
            self.fail(503, f"not ready: {', '.join(missing)}", result)
        else:
            self.reply(result, "Abaco is ready.")


class MetricsHandler(BaseHandler):
    """The process's metrics in Prometheus' text form."""

    def initialize(  # type: ignore[override] # this route is given more than others
        self,
        services: Services,
        authenticator: Authenticator,
        entry: Entry,
        agents: AgentReports,
    ) -> None:
        """Take what the route table hands in."""
        super().initialize(services, authenticator, entry)
        self._agents = agents

    async def get(self) -> None:
        """Write them, those of the store as they are now."""
        self.reply_raw(await expose(self.services, self._agents), CONTENT_TYPE)
