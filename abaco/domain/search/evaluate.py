"""Which document a query finds.

Stores may answer in a way of their own, as long as the answer is the one given here.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from enum import Enum
from typing import Any, Final

from abaco.domain.search.patterns import is_found
from abaco.domain.search.query import Clause, Operator, Query
from abaco.domain.search.text import grade_text, texts_in
from abaco.domain.search.times import parse_time


class _Missing(Enum):
    MISSING = "missing"


MISSING: Final = _Missing.MISSING

_COMPARISONS: Mapping[Operator, Callable[[Any, Any], bool]] = {
    Operator.LT: operator.lt,
    Operator.LTE: operator.le,
    Operator.GT: operator.gt,
    Operator.GTE: operator.ge,
}


def grade(query: Query, document: Mapping[str, Any]) -> int:
    """Grade a document: 0 when the query does not find it, the best has most."""
    if not all(accepts(clause, value_at(document, clause.path)) for clause in query.clauses):
        return 0
    return grade_text(texts_in(dict(document)), query.phrases, query.words)


def value_at(value: Any, path: Sequence[str]) -> Any:
    """Follow a path into nested objects; MISSING when it leads nowhere."""
    for key in path:
        if not isinstance(value, Mapping) or key not in value:
            return MISSING
        value = value[key]
    return value


def accepts(clause: Clause, value: Any) -> bool:
    """Tell whether a field's value meets a clause, whatever led to it.

    A list meets it as a whole or by any of its items. What is missing meets only the opposites,
    and eq when none will do.
    """
    return _is_met(clause, value) is not clause.operator.is_negated


def _is_met(clause: Clause, value: Any) -> bool:
    positive = clause.operator.positive
    if value is MISSING:
        return positive is Operator.EQ and None in clause.operands
    candidates = [value, *value] if isinstance(value, list | tuple) else [value]
    test = _TESTS.get(positive, _meets_bound)
    return any(test(clause, candidate) for candidate in candidates)


def _equals_any(clause: Clause, value: Any) -> bool:
    return any(_is_same(operand, value) for operand in clause.operands)


def _is_like(clause: Clause, value: Any) -> bool:
    return isinstance(value, str) and is_found(clause.operands[0], value)


def _is_between(clause: Clause, value: Any) -> bool:
    low, high = clause.operands
    return _compares(operator.ge, value, low) and _compares(operator.le, value, high)


def _meets_bound(clause: Clause, value: Any) -> bool:
    return _compares(_COMPARISONS[clause.operator], value, clause.operands[0])


_TESTS: Mapping[Operator, Callable[[Clause, Any], bool]] = {
    Operator.EQ: _equals_any,
    Operator.IN: _equals_any,
    Operator.LIKE: _is_like,
    Operator.BETWEEN: _is_between,
}


def _compares(compare: Callable[[Any, Any], bool], value: Any, bound: Any) -> bool:
    """Compare two values of one kind; others have no order."""
    if isinstance(bound, datetime):
        value = _as_time(value)
    return _kind(value) is not None and _kind(value) == _kind(bound) and compare(value, bound)


def _is_same(operand: Any, value: Any) -> bool:
    """Compare as JSON does: true is not 1, but 1 is 1.0."""
    if isinstance(operand, datetime):
        return bool(_as_time(value) == operand)
    if isinstance(operand, list) and isinstance(value, list | tuple):
        return len(operand) == len(value) and all(map(_is_same, operand, value))
    if isinstance(operand, dict) and isinstance(value, Mapping):
        return operand.keys() == value.keys() and all(
            _is_same(item, value[key]) for key, item in operand.items()
        )
    return isinstance(operand, bool) is isinstance(value, bool) and bool(operand == value)


def _as_time(value: Any) -> Any:
    """Read a time that is kept as text, as engines' states are."""
    return parse_time(value) if isinstance(value, str) else value


def _kind(value: Any) -> type | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return float
    return next((kind for kind in (str, datetime) if isinstance(value, kind)), None)
