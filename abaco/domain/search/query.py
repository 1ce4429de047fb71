"""What is asked: a query as it is understood, whichever way it was spelled."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from abaco.domain.ids import ActorId, ExecutionId, Tenant

#: items of a page when nothing is asked for
DEFAULT_LIMIT = 100
#: most items of one page; more are reached with ``skip``
MAX_LIMIT = 10_000


class SearchKind(StrEnum):
    """What can be searched; the words of the API."""

    ACTORS = "actors"
    EXECUTIONS = "executions"
    WORKERS = "workers"
    LOGS = "logs"


class Operator(StrEnum):
    """How a field is held against an operand; the words of the API."""

    EQ = "eq"
    NEQ = "neq"
    LT = "lt"
    LTE = "lte"
    GT = "gt"
    GTE = "gte"
    IN = "in"
    NIN = "nin"
    LIKE = "like"
    NLIKE = "nlike"
    BETWEEN = "between"

    @property
    def positive(self) -> Operator:
        """The operator this one is the opposite of, or itself."""
        return _POSITIVE.get(self, self)

    @property
    def is_negated(self) -> bool:
        """Whether it accepts exactly what another operator does not."""
        return self in _POSITIVE


_POSITIVE = {
    Operator.NEQ: Operator.EQ,
    Operator.NIN: Operator.IN,
    Operator.NLIKE: Operator.LIKE,
}

#: operators that put values in an order
ORDERING = frozenset({Operator.LT, Operator.LTE, Operator.GT, Operator.GTE, Operator.BETWEEN})

#: a number, text or time that others can be before or after
Ordered = int | float | str | datetime


@dataclass(frozen=True, slots=True)
class Clause:
    """One condition on one field.

    Attributes:
        path: The field, and the keys that lead on into it; never empty.
        operator: How.
        operands: What with. For eq, neq, in and nin any one of these JSON values or times will do;
            for lt, lte, gt, gte the one bound; for between the lower and the upper bound; for
            like and nlike the one pattern.

    """

    path: tuple[str, ...]
    operator: Operator
    operands: tuple[Any, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """What a client looks for; all of it must hold.

    Attributes:
        clauses: Conditions on fields.
        phrases: Each stands somewhere in the document, folded as by ``abaco.domain.search.text``.
        words: One of them stands somewhere in the document, if there are any; they rank it.
        limit: Most items returned.
        skip: Items left out before these.

    """

    clauses: tuple[Clause, ...] = ()
    phrases: tuple[str, ...] = ()
    words: tuple[str, ...] = ()
    limit: int = DEFAULT_LIMIT
    skip: int = 0

    @property
    def has_text(self) -> bool:
        """Whether it looks into the text of whole documents."""
        return bool(self.phrases or self.words)


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchScope:
    """Where is looked: at what one user may read in one tenant.

    Attributes:
        kind: What for.
        tenant: Where.
        user: Whose effective level on an object's actor must be READ or more; no role counts.
        actor_id: Only what belongs to this actor.
        execution_id: Only what belongs to this execution of it.

    """

    kind: SearchKind
    tenant: Tenant
    user: str
    actor_id: ActorId | None = None
    execution_id: ExecutionId | None = None
