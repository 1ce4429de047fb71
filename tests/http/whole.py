"""The whole application over the scripted engine, on the test's loop."""

import asyncio
from collections.abc import Mapping
from pathlib import Path

from abaco.app import App
from abaco.config import Settings
from abaco.ports.notices import Topic
from tests.http.site import Site, jwt_settings

#: longest wait for one thing to happen
PATIENCE_S = 20
#: longest wait between two looks
LOOK_S = 0.2


class WholeSite(Site):
    """The application as ``abaco serve`` builds it, on the test's loop."""

    async def _open(self) -> None:
        self.app = App(self.settings)
        await self.app.start()
        self.stack.push_async_callback(self.app.stop)
        self.services = self.app.services
        self.port = self.app.port
        self.connect()

    def until(self, path, is_true, **options):
        """Look again at every notice, and now and then, until the result is as wanted."""

        async def wait():
            end = asyncio.get_running_loop().time() + PATIENCE_S
            with self.services.notices.subscribe(*Topic) as subscription:
                while True:
                    result = (await self.fetch("GET", path, **options)).result
                    if is_true(result):
                        return result
                    assert asyncio.get_running_loop().time() < end, result
                    # not every step of a worker's life has a notice
                    await subscription.wait(LOOK_S)

        return self.run(wait())

    def until_status(self, path, *statuses, **options):
        return self.until(path, lambda result: result["status"] in statuses, **options)


def whole_settings(
    case: str,
    backend: str,
    directory: Path,
    runtime: Mapping[str, object] | None = None,
    **web: object,
) -> Settings:
    others = Settings(
        general={"tag": "test-tag", "data_dir": directory},
        engine={"driver": "scripted"},
        store={"backend": backend},
        runtime=dict(runtime or {}),
    )
    return others.model_copy(update={"web": jwt_settings(case, port=0, **web).web})
