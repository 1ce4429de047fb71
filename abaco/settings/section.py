"""What every section of abaco.conf shares."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    ModelWrapValidatorHandler,
    PrivateAttr,
    ValidationError,
    model_validator,
)
from pydantic_core import InitErrorDetails, PydanticCustomError


def fold_tenant(tenant: str) -> str:
    """Spell a tenant as its keys do: letter case and ``-`` against ``_`` make no difference."""
    return tenant.casefold().replace("-", "_")


class Section(BaseModel):
    """Base of all sections: frozen, no unknown keys, keys for single tenants where declared."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    #: ending of a key for one tenant (``<tenant>_<ending>``) -> the key it stands in for
    tenant_forms: ClassVar[Mapping[str, str]] = {}

    _tenant_values: dict[tuple[str, str], Any] = PrivateAttr(default_factory=dict)

    @classmethod
    def split_tenant_key(cls, key: str) -> tuple[str, str] | None:
        """Take ``<tenant>_<ending>`` apart; None when the key is not of that form."""
        if key in cls.model_fields:
            return None
        for ending in cls.tenant_forms:
            tenant = fold_tenant(key).removesuffix(f"_{ending}")
            if tenant and tenant != fold_tenant(key):
                return tenant, ending
        return None

    def for_tenant(self, ending: str, tenant: str) -> Any:
        """Return the tenant's own value of a key, or else the one for everybody.

        Args:
            ending: One of ``tenant_forms``; ``log_ex`` reads ``<tenant>_log_ex``.
            tenant: In any letter case, with ``-`` or ``_``.

        """
        everybody = getattr(self, self.tenant_forms[ending])
        return self._tenant_values.get((fold_tenant(tenant), ending), everybody)

    def own_of(self, ending: str, tenant: str) -> Any:
        """Return the tenant's own value of a key; None when nobody gave one."""
        return self._tenant_values.get((fold_tenant(tenant), ending))

    @property
    def named_tenants(self) -> list[str]:
        """The tenants that have keys of their own, as ``fold_tenant`` spells them."""
        return sorted({tenant for tenant, _ in self._tenant_values})

    def every_value(self, ending: str) -> list[Any]:
        """Return the value for everybody, and those of single tenants."""
        own = [value for (_, form), value in self._tenant_values.items() if form == ending]
        return [getattr(self, self.tenant_forms[ending]), *own]

    @model_validator(mode="wrap")
    @classmethod
    def _take_tenant_keys(cls, data: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        if not isinstance(data, dict) or not cls.tenant_forms:
            return handler(data)
        forms = {key: form for key in data if (form := cls.split_tenant_key(key))}
        section = handler({key: value for key, value in data.items() if key not in forms})
        for key, (tenant, ending) in forms.items():
            section._tenant_values[tenant, ending] = cls._tenant_value(key, ending, data[key])
        return section

    @classmethod
    def _tenant_value(cls, key: str, ending: str, value: Any) -> Any:
        """Validate the value as that of the key it stands in for, under its own name."""
        field = cls.tenant_forms[ending]
        try:
            return getattr(cls.model_validate({field: value}), field)
        except ValidationError as error:
            details = [
                InitErrorDetails(
                    type=PydanticCustomError(item["type"], "{text}", {"text": item["msg"]}),
                    loc=(key,),
                    input=value,
                )
                for item in error.errors()
            ]
            raise ValidationError.from_exception_data(cls.__name__, details) from error
