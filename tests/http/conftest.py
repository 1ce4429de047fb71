"""Servers for the HTTP tests; each test fails when the server logs an error it did not expect."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from abaco.config import Settings
from tests.http.site import Site, jwt_settings


@contextmanager
def opened(settings: Settings) -> Iterator[Site]:
    site = Site(settings)
    site.open()
    try:
        yield site
    finally:
        site.close()


@pytest.fixture(params=["snake", "camel"])
def site(request: pytest.FixtureRequest) -> Iterator[Site]:
    """A server in mode jwt, once per spelling."""
    with opened(jwt_settings(request.param)) as opened_site:
        yield opened_site


@pytest.fixture
def snake() -> Iterator[Site]:
    """A server in mode jwt, for what the spelling does not touch."""
    with opened(jwt_settings("snake")) as opened_site:
        yield opened_site


@pytest.fixture
def make_site() -> Iterator[Callable[..., Site]]:
    """Make servers with settings of the test's own."""
    sites: list[Site] = []

    def make(**web: Any) -> Site:
        site = Site(jwt_settings(**web))
        site.open()
        sites.append(site)
        return site

    yield make
    for site in sites:
        site.close()


@pytest.fixture(autouse=True)
def no_errors_logged(
    request: pytest.FixtureRequest, caplog: pytest.LogCaptureFixture
) -> Iterator[None]:
    """Fail on ERROR lines, but in tests marked to expect them by using ``expected_errors``."""
    yield
    errors = [
        record.getMessage()
        for record in caplog.get_records("call")
        if record.levelno >= logging.ERROR
    ]
    if "expected_errors" not in request.fixturenames:
        assert not errors, errors


@pytest.fixture
def expected_errors() -> None:
    """The test causes errors that a person must look at."""
