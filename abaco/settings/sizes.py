"""Values of several sections: sizes in engine syntax, and lists of capabilities."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field

from abaco.domain.limits import CAPABILITIES, MIN_NANO_CPUS, check_memory
from abaco.errors import InvalidInputError

SIZE_PATTERN = r"^[1-9][0-9]*[bkmgBKMG]?$"
OPTIONAL_SIZE_PATTERN = r"^(-1|[1-9][0-9]*[bkmgBKMG]?)$"

SIZE = "a whole number with nothing, b, k, m or g after it"
OPTIONAL_SIZE = f"-1, or {SIZE}"
_NAMES = "names of Linux capabilities, as in capabilities(7), with commas between, or nothing"


def _read_capabilities(value: Any) -> Any:
    """Take text apart; spell each name as the kernel does, without ``CAP_``, once."""
    if not isinstance(value, str):
        return value
    if value.strip().lower() in ("", "none"):
        return ()
    names = [word.strip().upper().removeprefix("CAP_") for word in value.split(",")]
    if not all(name in CAPABILITIES for name in names):
        raise ValueError(_NAMES)
    return tuple(dict.fromkeys(names))


def _check_memory(text: str) -> str:
    try:
        check_memory(text)
    except InvalidInputError as error:
        raise ValueError(error.message) from error
    return text


def _check_cpus(nano_cpus: int) -> int:
    if 0 < nano_cpus < MIN_NANO_CPUS:
        raise ValueError("less than the kernel's smallest share")
    return nano_cpus


#: a size
SizeText = Annotated[str, Field(pattern=SIZE_PATTERN, json_schema_extra={"allowed": SIZE})]
#: a size, or -1 for none
OptionalSizeText = Annotated[
    str, Field(pattern=OPTIONAL_SIZE_PATTERN, json_schema_extra={"allowed": OPTIONAL_SIZE})
]
#: memory of a container
MemoryText = Annotated[OptionalSizeText, AfterValidator(_check_memory)]
#: nano-CPUs of a container
NanoCpus = Annotated[
    int,
    AfterValidator(_check_cpus),
    Field(ge=-1, json_schema_extra={"allowed": f"-1, or a whole number from {MIN_NANO_CPUS}"}),
]
#: capabilities by name
Capabilities = Annotated[
    tuple[str, ...],
    BeforeValidator(_read_capabilities),
    Field(json_schema_extra={"allowed": _NAMES}),
]
