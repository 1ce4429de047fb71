"""The address of this host, for a Podman that does not put it in by itself."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_unix_socket
from tornado.web import Application, RequestHandler

from backends.drivers.engine_http import EngineHttp
from backends.drivers.engine_wire import EngineReplyError
from backends.drivers.podman_hosts import HostGateway

NETWORKS: dict[str, Any] = {
    "podman": {"subnets": [{"subnet": "10.88.0.0/16", "gateway": "10.88.0.1"}]},
    "lab": {"subnets": [{"gateway": "2001:db8::1"}, {"gateway": "10.9.0.1"}]},
    "bare": {"subnets": None},
    "closed": {"subnets": [{"subnet": "10.10.0.0/16"}]},
}
ITEMS = ("server:host-gateway", "two:192.0.2.7", "host-gateway:192.0.2.8")


class Asked:
    """What the engine was asked for."""

    def __init__(self) -> None:
        self.names: list[str] = []


@contextlib.asynccontextmanager
async def engine(path: Path) -> AsyncIterator[tuple[HostGateway, Asked]]:
    asked = Asked()

    class Network(RequestHandler):
        def get(self, name: str) -> None:
            asked.names.append(name)
            if name not in NETWORKS:
                self.set_status(404)
                self.finish(json.dumps({"message": f"unable to find network {name}"}))
            else:
                self.finish(json.dumps(NETWORKS[name]))

    server = HTTPServer(Application([(r"/base/networks/([^/]+)/json", Network)]))
    server.add_socket(bind_unix_socket(str(path)))
    http = EngineHttp(f"unix://{path}", timeout_s=5)
    try:
        yield HostGateway(http, "/base"), asked
    finally:
        http.close()
        server.stop()
        await server.close_all_connections()


@pytest.mark.parametrize(("network", "address"), [("bridge", "10.88.0.1"), ("lab", "2001:db8::1")])
async def test_it_is_that_of_the_networks_bridge(
    tmp_path: Path, network: str, address: str
) -> None:
    async with engine(tmp_path / "s") as (gateway, asked):
        for _ in range(3):
            filled = await gateway.fill(ITEMS, network)
            assert filled == (f"server:{address}", "two:192.0.2.7", "host-gateway:192.0.2.8")
        assert len(asked.names) == 1


@pytest.mark.parametrize("network", ["private", "slirp4netns", "pasta"])
async def test_networks_without_a_bridge_are_left_to_the_engine(
    tmp_path: Path, network: str
) -> None:
    async with engine(tmp_path / "s") as (gateway, asked):
        assert await gateway.fill(ITEMS, network) == ITEMS
        assert asked.names == []


@pytest.mark.parametrize("network", ["bare", "closed"])
async def test_so_are_bridges_without_an_address(tmp_path: Path, network: str) -> None:
    async with engine(tmp_path / "s") as (gateway, _):
        assert await gateway.fill(ITEMS, network) == ITEMS


async def test_nobody_is_asked_without_need(tmp_path: Path) -> None:
    async with engine(tmp_path / "s") as (gateway, asked):
        assert await gateway.fill(("two:192.0.2.7",), "bridge") == ("two:192.0.2.7",)
        assert await gateway.fill((), "bridge") == ()
        assert asked.names == []


async def test_a_network_that_is_not_there_is_told_each_time(tmp_path: Path) -> None:
    async with engine(tmp_path / "s") as (gateway, asked):
        for _ in range(2):
            with pytest.raises(EngineReplyError, match="unable to find network"):
                await gateway.fill(ITEMS, "none-such")
        assert len(asked.names) == 2


async def test_starts_at_the_same_time_get_the_same(tmp_path: Path) -> None:
    async with engine(tmp_path / "s") as (gateway, _):
        found = await asyncio.gather(*[gateway.fill(ITEMS, "bridge") for _ in range(5)])
        assert len(set(found)) == 1
