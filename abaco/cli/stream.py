"""A log as the server sends it: for servers that offer that."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from abaco.cli.client import AbacoClient, ApiError, UnreachableError


class LogTail:
    """The rest of an execution's log, however often the connection is lost.

    Attributes:
        is_offered: Whether the server sends logs as they grow, as far as it is known.
        has_ended: Whether the execution is final, and all of its log was given.

    """

    def __init__(self, client: AbacoClient, actor_id: str, execution_id: str) -> None:
        self._client = client
        self._path = (actor_id, "executions", execution_id, "logs")
        self._last_id = ""
        self.is_offered = True
        self.has_ended = False

    def read(self) -> Iterator[str | None]:
        """Yield the texts that come until the end, or until the connection is lost.

        None stands for a beginning: what was given before came from a run that was lost.
        """
        try:
            for name, last_id, data in self._events():
                self._last_id = last_id
                if name == "log":
                    yield str(data["logs"])
                elif name == "restart":
                    yield None
                elif name == "end":
                    self.has_ended = True
                    return
        except UnreachableError:
            return  # whoever asks the server next is told why
        except ApiError:
            self.is_offered = False

    def _events(self) -> Iterator[tuple[str, str, Any]]:
        headers = {"Last-Event-ID": self._last_id} if self._last_id else {}
        events = self._client.events(self._path, query={"follow": "true"}, headers=headers)
        for event in events:
            yield event.event, event.id or "", json.loads(event.data)
