"""Names that containers resolve besides what their network knows."""

from __future__ import annotations

import ipaddress
import re
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator
from pydantic_core import PydanticCustomError

from abaco.settings.hosts import TELLING

#: the host as its containers see it, as engines spell that
HOST_GATEWAY = "host-gateway"

EXTRA_HOSTS = f"<name>:<address> or <name>:{HOST_GATEWAY}, with commas between items, or nothing"

#: Source: RFC 1123 section 2.1
_NAME = re.compile(r"(?!-)[A-Za-z0-9-]{1,63}(\.(?!-)[A-Za-z0-9-]{1,63})*")


def _split(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    return tuple(item for part in value.split(",") if (item := part.strip()))


def _check(items: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(_check_item(item) for item in items)


def _check_item(item: str) -> str:
    name, colon, address = (part.strip() for part in item.partition(":"))
    if not colon or len(name) > 253 or not _NAME.fullmatch(name):
        raise _fault(item, "no name stands before a colon")
    if address != HOST_GATEWAY:
        try:
            ipaddress.ip_address(address)
        except ValueError as error:
            raise _fault(item, f"{address!r} is no address") from error
    return f"{name}:{address}"


def _fault(item: str, text: str) -> PydanticCustomError:
    return PydanticCustomError(TELLING, "{text}", {"text": f"{item!r}: {text}"})


#: items of ``name:address``
ExtraHosts = Annotated[tuple[str, ...], BeforeValidator(_split), AfterValidator(_check)]
