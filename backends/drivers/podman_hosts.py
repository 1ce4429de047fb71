"""This host's address as Podman's containers see it: Podman before 4.7 does not put it in."""

from __future__ import annotations

from abaco.settings.extra_hosts import HOST_GATEWAY
from backends.drivers.engine_http import EngineHttp

#: networks without a bridge; what stands for the host there, newer releases know
_UNBRIDGED = ("private", "slirp4netns", "pasta")
#: what mode bridge means
_DEFAULT = "podman"


class HostGateway:
    """Puts the address of a network's bridge in the place of ``host-gateway``.

    Args:
        http: The engine.
        base: Prefix of its paths.

    """

    def __init__(self, http: EngineHttp, base: str) -> None:
        self._http = http
        self._base = base
        self._known: dict[str, str] = {}

    async def fill(self, items: tuple[str, ...], network: str) -> tuple[str, ...]:
        """Return the items of ``name:address`` with addresses only. Raises EngineReplyError."""
        if not any(item.endswith(f":{HOST_GATEWAY}") for item in items) or network in _UNBRIDGED:
            return items
        name = _DEFAULT if network == "bridge" else network
        if name not in self._known:
            self._known[name] = await self._ask(name)
        found = self._known[name]
        return tuple(
            f"{item.removesuffix(HOST_GATEWAY)}{found}" if item.endswith(HOST_GATEWAY) else item
            for item in items
        )

    async def _ask(self, name: str) -> str:
        reply = await self._http.call("GET", f"{self._base}/networks/{name}/json")
        subnets = reply.json().get("subnets") or [{}]
        return str(subnets[0].get("gateway") or HOST_GATEWAY)
