"""Names that containers resolve because the configuration says so."""

from __future__ import annotations

import ipaddress
from collections.abc import AsyncIterator

import pytest

from tests.support.drivers import Lab, settings
from tests.support.engines import Engine

HOSTS = "abaco.example.org:127.0.0.9, six:2001:db8::9"


@pytest.fixture(params=["host", "bridge"])
async def lab(engine: Engine, request: pytest.FixtureRequest) -> AsyncIterator[Lab]:
    driver = engine.driver(settings(extra_hosts=HOSTS, network=request.param), "mine")
    yield Lab(driver)
    await driver.close()


async def test_containers_know_them_in_every_network(lab: Lab) -> None:
    output, end = await lab.run("cat /etc/hosts")
    lines = [line.split() for line in output.decode().splitlines()]
    assert ["127.0.0.9", "abaco.example.org"] in lines
    assert ["2001:db8::9", "six"] in lines
    assert end.exit_code == 0


@pytest.mark.parametrize("network", ["host", "bridge"])
async def test_this_host_has_an_address(engine: Engine, network: str) -> None:
    chosen = settings(extra_hosts="server:host-gateway,two:192.0.2.7", network=network)
    driver = engine.driver(chosen, "mine")
    try:
        for _ in range(2):
            output, _ = await Lab(driver).run("sed -n 's/[[:space:]]server$//p' /etc/hosts")
            address = ipaddress.ip_address(output.decode().strip())
            assert address.is_loopback == (network == "host")
            assert str(address) != "192.0.2.7"
    finally:
        await driver.close()
