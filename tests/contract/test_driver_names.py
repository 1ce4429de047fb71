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


@pytest.fixture
async def other_lab(engine: Engine) -> AsyncIterator[Lab]:
    chosen = settings(extra_hosts="server:host-gateway,two:192.0.2.7", network="none")
    driver = engine.driver(chosen, "mine")
    yield Lab(driver)
    await driver.close()


@pytest.mark.parametrize("network", ["host", "bridge"])
async def test_this_host_has_an_address_in_the_containers_own_network(
    other_lab: Lab, network: str
) -> None:
    for _ in range(2):
        output, _ = await other_lab.run(
            "sed -n 's/[[:space:]]server$//p' /etc/hosts", network=network
        )
        address = ipaddress.ip_address(output.decode().strip())
        assert address.is_loopback == (network == "host")
        assert str(address) != "192.0.2.7"


async def test_it_has_none_without_a_network(other_lab: Lab) -> None:
    output, end = await other_lab.run("cat /etc/hosts || true")
    assert b"server" not in output
    assert end.exit_code == 0
