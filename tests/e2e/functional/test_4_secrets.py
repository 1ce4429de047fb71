"""After all rows: no token, nonce or secret value is anywhere it should not be."""

from __future__ import annotations

import pytest

from tests.e2e.functional.names import SECRET
from tests.support.suite import Suite

VIEWS = (
    "/metrics",
    "/health",
    "/ready",
    "/actors/utilization",
    "/actors/admin",
    "/actors/admin/workers",
    "/actors/admin/executions",
    "/actors/admin/audit",
    "/admin/dashboard",
    "/openapi.json",
)


def found(suite: Suite, text: str) -> set[str]:
    assert len(suite.secrets) > 20
    assert SECRET in suite.secrets
    return {secret for secret in suite.secrets if secret in text}


def test_the_log_of_the_server_has_none(suite: Suite):
    log = suite.server.log()
    assert "/actors" in log
    assert found(suite, log) == set()


def test_no_refusal_has_one(suite: Suite):
    assert len(suite.refusals) > 20
    assert found(suite, b"\n".join(suite.refusals).decode()) == set()


@pytest.mark.parametrize("path", VIEWS)
def test_no_view_of_administrators_has_one(suite: Suite, path: str):
    answer = suite.get(path)
    assert answer.status == 200
    assert found(suite, answer.body.decode()) == set()
