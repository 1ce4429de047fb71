"""The composition root: builds every room, starts it, stops it in reverse."""

from __future__ import annotations

import asyncio
import logging
import secrets
import signal
import socket
from collections.abc import Awaitable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, suppress

from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application

from abaco.config import Settings
from abaco.domain.api_server import sdk_faults
from abaco.domain.health import CheckReport
from abaco.errors import BackendError, ConfigError, StoreUnavailableError
from abaco.logs import set_up_logs
from abaco.operations.events import webhook_policy
from abaco.operations.rotation import Rotation
from abaco.operations.services import Services
from abaco.operations.space import Space
from abaco.ports.store import Stores
from abaco.ports.token_provider import TokenProvider
from abaco.ports.vault import Vault
from agents.clientg import start_clientg
from agents.crew import Crew, make_kit, start_crew
from agents.disk import DISK_INTERVAL_S, DiskWatch
from agents.health import HEARTBEAT_TTL_S
from agents.notices import LocalNotices
from agents.periodic import Periodic
from agents.supervisor import Supervisor
from backends.certificates import ServedCertificate, check_bundle, open_certificate
from backends.channels.local import LocalTransport
from backends.disk import disk_of
from backends.drivers.select import open_driver
from backends.host_files import Guard, LocalFiles
from backends.ipc import open_ipc
from backends.registries import ConfiguredRegistries, check_accounts
from backends.registry import find_stores, find_token_provider
from backends.system import RandomIds, SystemClock, hold_data_dir
from backends.tokens.select import open_tokens
from backends.users.select import open_users
from backends.vault import open_vault
from backends.webhooks import HttpWebhookSender
from handlers.routes import make_application, make_internal_application
from handlers.server import make_server, raise_file_limit

_log = logging.getLogger(__name__)

#: seconds open requests get to end when the server stops
REQUESTS_GRACE_S = 1.0
#: seconds a readiness check may take
CHECK_TIMEOUT_S = 2.0
#: connections the kernel holds for us while the loop is busy
LISTEN_BACKLOG = 1024


class App:
    """One Abaco process.

    Args:
        settings: Everything configurable.

    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._clock = SystemClock()
        self._stack = AsyncExitStack()
        self.supervisor = Supervisor(self._clock)
        #: set by ``start``
        self.services: Services
        self.port = 0
        #: 0 when there is none
        self.internal_port = 0
        #: None when the port speaks plain HTTP
        self.certificate: ServedCertificate | None = None
        self._crew: Crew

    async def start(self) -> None:
        """Start store, driver, agents, HTTP, in this order.

        Raises:
            ConfigError: Something is configured wrongly.
            BackendError: The store cannot be opened.
            ConflictError: Another live process serves this instance.

        """
        try:
            await self._start()
        except BaseException:
            await self.stop()
            raise

    async def _start(self) -> None:
        settings = self.settings
        self.certificate = open_certificate(settings.web, self._clock)
        self._look_at_what_containers_are_told()
        instance_id = secrets.token_hex(8)
        is_lasting = settings.store.backend != "memory"
        if is_lasting:  # what nothing outlives needs no lasting name
            instance_id = self._stack.enter_context(hold_data_dir(settings.general.data_dir))
        check_accounts(settings)
        vault = open_vault(settings)
        open_stores = find_stores(settings.store.backend)
        stores = await self._stack.enter_async_context(open_stores(settings, self._clock))
        epoch = await self._acquire(stores, instance_id)
        ipc_root = settings.general.data_dir / "ipc" if is_lasting else None
        left_root = settings.runtime.large_results_dir
        if left_root is not None:  # a name of ours alone: what is not known in there is removed
            left_root /= f"abaco-{instance_id}"
        ipc = await self._stack.enter_async_context(open_ipc(ipc_root, left_root))
        opened = await self._stack.enter_async_context(open_driver(settings, instance_id))
        self.services = Services(
            settings=settings,
            stores=stores,
            notices=LocalNotices(),
            clock=self._clock,
            ids=RandomIds(settings.web.id_salt),
            vault=vault,
            engine_endpoint=self._engine_endpoint,
            identity=await self._stack.enter_async_context(open_users(settings, self._clock)),
            bearer=self._stack.enter_context(open_tokens(settings, self._clock)),
            space=Space.of(settings.general.min_free_disk),
        )
        provider = await self._stack.enter_async_context(self._open_token_provider(stores, vault))
        webhooks = HttpWebhookSender(
            webhook_policy(self.services), settings.runtime.webhook_timeout
        )
        self._stack.push_async_callback(webhooks.close)
        self._stack.push_async_callback(self.supervisor.stop)
        for name, agent in opened.agents.items():
            self.supervisor.start(name, agent)
        tokens = start_clientg(self.supervisor, self.services, provider, LocalTransport())
        host_files = LocalFiles(
            Guard.of(settings), skips_missing=settings.workers.mount_missing == "skip"
        )
        kit = make_kit(
            self.services,
            opened.driver,
            ipc=ipc,
            host_files=host_files,
            tokens=tokens,
            registries=ConfiguredRegistries(settings),
        )
        self._crew = start_crew(kit, self.services, self.supervisor, epoch, webhooks)
        await self._watch_disk()
        rotation = Rotation(stores, vault, settle_s=2 * settings.store.timeout_s)
        self.supervisor.start("rotation", rotation.run)
        if self.certificate is not None:
            self.supervisor.start("certificate", self.certificate.run)
        self._listen(rotation)

    def _look_at_what_containers_are_told(self) -> None:
        """Tell of URLs some cannot call. Raises ConfigError for a bundle that is none."""
        for url in self.settings.web.api_servers:
            if faults := sdk_faults(url):
                _log.info("programs with agavepy cannot call %s: %s", url, ", ".join(faults))
        if self.settings.runtime.actor_ca_bundle is not None:
            check_bundle(self.settings.runtime.actor_ca_bundle)

    async def _watch_disk(self) -> None:
        """Know how much room there is before the first request comes, and keep knowing."""
        disk = disk_of(self.settings)
        if disk is None:
            return
        watch = DiskWatch(disk, self.services.space)
        with suppress(StoreUnavailableError):
            await watch.round()
        self.supervisor.start("disk", Periodic("disk", DISK_INTERVAL_S, watch.round).run)

    def _open_token_provider(
        self, stores: Stores, vault: Vault
    ) -> AbstractAsyncContextManager[TokenProvider]:
        open_provider = find_token_provider(self.settings.runtime.token_provider)
        return open_provider(self.settings, self._clock, stores, vault)

    def _engine_endpoint(self) -> str:
        info = self._crew.kit.engine.info
        return info.endpoint if info else "unknown"

    async def _acquire(self, stores: Stores, instance_id: str) -> int:
        holder = f"installation {instance_id} on {socket.gethostname()}"
        now = self._clock.now()
        epoch = await stores.instance.acquire(holder, now, HEARTBEAT_TTL_S)
        self._stack.push_async_callback(stores.instance.release, epoch)
        return epoch

    def _listen(self, rotation: Rotation) -> None:
        web = self.settings.web
        agents, checks = self.supervisor.report, self.checks
        if web.internal_port is not None:
            internal = make_internal_application(self.services, agents=agents, checks=checks)
            self.internal_port = self._serve(
                internal, web.internal_address, web.internal_port, "web.internal_port"
            )
        elif not web.shows_metrics:
            _log.warning("/metrics is not served: others reach web.address; set web.internal_port")
        application = make_application(
            self.services, agents=agents, checks=checks, rotation=rotation
        )
        self.port = self._serve(application, web.address, web.port, "web.port", self.certificate)

    def _serve(
        self,
        application: Application,
        address: str,
        port: int,
        key: str,
        certificate: ServedCertificate | None = None,
    ) -> int:
        """Answer requests there from now on. Returns the port; ``key`` is what sets it."""
        try:
            sockets = bind_sockets(port, address, backlog=LISTEN_BACKLOG)
        except OSError as error:
            raise ConfigError(
                f"{key}: cannot listen on {address}:{port} ({error.strerror});"
                f" is another server running? choose another {key}"
            ) from error
        bound = int(sockets[0].getsockname()[1])  # before the server takes the sockets over
        server = make_server(
            application,
            file_limit=raise_file_limit(),
            max_body_bytes=self.settings.web.max_body_length,
            tls=None if certificate is None else certificate.context,
        )
        if certificate is not None:
            certificate.on_renewal(server.use_tls)
        server.add_sockets(sockets)
        self._stack.push_async_callback(self._close_http, server)
        scheme = "http" if certificate is None else "https"
        _log.info("listening on %s://%s:%d (%s)", scheme, address, bound, key)
        return bound

    async def _close_http(self, server: HTTPServer) -> None:
        server.stop()
        try:
            async with asyncio.timeout(REQUESTS_GRACE_S):
                await server.close_all_connections()
        except TimeoutError:
            _log.warning("some requests were still open after %s s", REQUESTS_GRACE_S)

    async def stop(self) -> None:
        """Stop in reverse order. Containers go on; the next start adopts them."""
        await self._stack.aclose()

    async def drain(self) -> None:
        """Wait until no worker runs a message, at most ``runtime.shutdown_grace`` seconds."""
        until_s = self._clock.monotonic() + self.settings.runtime.shutdown_grace
        await self._crew.spawner.drain(until_s)

    async def checks(self) -> list[CheckReport]:
        """Ask store and engine, now, whether they can be reached."""
        watch = self._crew.kit.engine
        engine = "not asked yet"
        if watch.absence is not None:
            engine = watch.absence.message
        elif watch.info is not None:
            engine = f"{watch.info.driver} {watch.info.version} at {watch.info.endpoint}"
        store = await self._check("store", self.services.stores.instance.ping())
        failure = self._crew.heartbeat.failure
        if store.is_ok and failure is not None:  # it can be read, and not written
            store = CheckReport(name="store", is_ok=False, detail=failure.message)
        reports = [store, CheckReport(name="engine", is_ok=watch.is_up, detail=engine)]
        has_disk = self.settings.store.backend != "memory"
        return [*reports, self.services.space.report()] if has_disk else reports

    async def _check(self, name: str, call: Awaitable[None]) -> CheckReport:
        try:
            async with asyncio.timeout(CHECK_TIMEOUT_S):
                await call
        except TimeoutError:
            return CheckReport(name=name, is_ok=False, detail="no answer in time")
        except BackendError as error:
            return CheckReport(name=name, is_ok=False, detail=error.message)
        return CheckReport(name=name, is_ok=True, detail=self.settings.store.backend)

    async def run_until_stopped(self, stop: asyncio.Event) -> int:
        """Wait for a stop request, an agent that cannot be kept alive, or a successor.

        Returns the exit code of the process.
        """
        waiting = {
            asyncio.create_task(event.wait(), name=name)
            for name, event in (
                ("stop", stop),
                ("failed", self.supervisor.has_failed),
                ("superseded", self._crew.heartbeat.is_superseded),
            )
        }
        done, rest = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        for task in rest:
            task.cancel()
        return 0 if all(task.get_name() == "stop" for task in done) else 1


async def serve(settings: Settings) -> int:
    """Run Abaco until SIGTERM or SIGINT. Returns the exit code of the process."""
    set_up_logs(settings.logs)
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    app = App(settings)
    await app.start()
    try:
        code = await app.run_until_stopped(stop)
        if code == 0 and settings.runtime.shutdown_policy == "drain":
            await app.drain()
    finally:
        await app.stop()
    _log.info("stopped")
    return code
