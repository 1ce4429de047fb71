"""Row 56: everything can be deleted."""

from __future__ import annotations

from typing import Any

import pytest

from tests.http.site import TENANT
from tests.support.suite import ADMIN, LIMITED, STAGING, Suite


@pytest.mark.parametrize(("user", "tenant"), [(ADMIN, TENANT), (LIMITED, TENANT), (ADMIN, STAGING)])
def test_row_56_clean_up(suite: Suite, user: str, tenant: str):
    who: dict[str, Any] = {"user": user, "tenant": tenant}
    for actor in suite.get("/actors", **who).result:
        assert suite.delete(f"/actors/{actor['id']}", **who).result is None

    def left() -> Any:
        return suite.get("/actors", **who).result

    suite.until(lambda: not left(), "every actor to be gone", 30)
