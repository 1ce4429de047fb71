"""A query as SQL. What a client wrote is only ever bound, never part of a statement.

Conditions on columns are SQL of their own. What lies inside JSON, regular expressions and words
are judged by the rules of ``abaco.domain.search`` themselves, called from SQL row by row.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from abaco.domain.permission import WORLD
from abaco.domain.search import Clause, Operator, Query, SearchScope, accepts
from abaco.domain.search.evaluate import MISSING
from abaco.domain.search.query import ORDERING
from backends.stores.rules import to_micros
from backends.stores.sqlite.search_fields import SOURCES, Field, Form, Source

_COMPARISONS = {Operator.LT: "<", Operator.LTE: "<=", Operator.GT: ">", Operator.GTE: ">="}

#: permissions of any actor, and of one; the world's entry counts for everybody
_VISIBLE = """
    SELECT name FROM permissions
    WHERE kind = 'actor' AND tenant = :tenant AND user IN (:user, :world) AND level > 0
"""
_IS_VISIBLE = """
    SELECT 1 FROM permissions WHERE kind = 'actor' AND tenant = :tenant AND name = :actor_id
        AND user IN (:user, :world) AND level > 0
"""


@dataclass(slots=True)
class Statement:
    """Which rows a query finds.

    Attributes:
        source: What the rows are of.
        where: Condition of a row.
        values: What the condition's names are bound to.

    """

    source: Source
    where: str = ""
    values: dict[str, Any] = field(default_factory=dict)

    @property
    def age(self) -> str:
        """What rows are ordered by, oldest first."""
        return f"{self.source.time}, {self.source.id}, {self.source.actor_id}"

    def page(self) -> str:
        """Write the query of a page of items; binds ``limit`` and ``skip`` besides."""
        order = f"ORDER BY {self.age} LIMIT :limit OFFSET :skip"
        return f"SELECT {self.source.table}.* {self._rest} {order}"

    def count(self) -> str:
        """Write the query of how many there are."""
        return f"SELECT count(*) {self._rest}"

    def grades(self) -> str:
        """Write the query of every row's grade, age and place in its table."""
        texts = ", ".join(each.sql for each in self.source.texts)
        place = f"{self.source.table}.rowid"
        return f"SELECT abaco_grade({texts}), {self.age}, {place} {self._rest}"

    def item(self) -> str:
        """Write the query of one item by its place in the table."""
        return f"SELECT * FROM {self.source.table} WHERE rowid = ?"  # noqa: S608 - a name from this program

    @property
    def _rest(self) -> str:
        return f"FROM {self.source.tables} WHERE {self.where}"


def compile_query(scope: SearchScope, query: Query, now: datetime) -> Statement:
    """Write which rows a query finds, words and phrases left aside."""
    source = SOURCES[scope.kind]
    statement = Statement(source)
    statement.values = {
        "tenant": scope.tenant,
        "user": scope.user,
        "world": WORLD,
        "actor_id": scope.actor_id,
        "execution_id": scope.execution_id,
        "now": to_micros(now),
    }
    conditions = [f"{source.table}.tenant = :tenant", source.only]
    if scope.actor_id is None:
        conditions.append(f"{source.actor_id} IN ({_VISIBLE})")
    else:
        conditions += [f"{source.actor_id} = :actor_id", f"EXISTS ({_IS_VISIBLE})"]
    if scope.execution_id is not None:
        conditions.append("executions.id = :execution_id")
    for number, clause in enumerate(query.clauses):
        conditions.append(_Condition(statement, number, clause).sql())
    statement.where = " AND ".join(f"({condition})" for condition in conditions)
    return statement


class _Condition:
    """One clause on its way into SQL."""

    def __init__(self, statement: Statement, number: int, clause: Clause) -> None:
        self._field = statement.source.fields.get(clause.path[0])
        self._values = statement.values
        self._number = number
        self._clause = clause

    def sql(self) -> str:
        """Write the condition; it is never NULL."""
        clause = self._clause
        if self._field is None or (self._field.form is not Form.JSON and len(clause.path) > 1):
            return "TRUE" if accepts(clause, MISSING) else "FALSE"
        if self._field.form is Form.JSON:
            return f"abaco_accepts({self._number}, {self._field.sql})"
        positive = " OR ".join(self._ways(self._field)) or "FALSE"
        return f"NOT ({positive})" if clause.operator.is_negated else positive

    def _ways(self, field: Field) -> Iterable[str]:
        """Write what, each by itself, meets the clause."""
        operator, operands = self._clause.operator.positive, self._clause.operands
        if operator is Operator.LIKE:
            if field.form is Form.PLAIN:
                yield f"abaco_like({self._number}, {field.sql})"
        elif operator in ORDERING:
            yield from self._ordered(field, operator, operands)
        else:
            if None in operands:
                yield f"{field.sql} IS NULL"
            for guard, values in _sort(field, operands):
                names = ", ".join(map(self._bind, values))
                yield f"({guard} AND {field.sql} IN ({names}))"

    def _ordered(self, field: Field, operator: Operator, operands: Sequence[Any]) -> Iterable[str]:
        sorted_out = list(_sort(field, operands))
        if field.form is Form.BOOLEAN or len(sorted_out) != 1:
            return
        ((guard, values),) = sorted_out
        if operator is Operator.BETWEEN:
            low, high = map(self._bind, values)
            yield f"({guard} AND {field.sql} BETWEEN {low} AND {high})"
        else:
            bound = self._bind(values[0])
            yield f"({guard} AND {field.sql} {_COMPARISONS[operator]} {bound})"

    def _bind(self, value: Any) -> str:
        name = f"v{len(self._values)}"
        self._values[name] = value
        return f":{name}"


def _sort(field: Field, operands: Sequence[Any]) -> Iterable[tuple[str, list[Any]]]:
    """Sort operands by what values they can be compared with.

    Yields a condition on the field, and those that may then be compared with it. The condition
    keeps SQLite from comparing text with numbers, which it would.
    """
    kinds: dict[str, list[Any]]
    match field.form:
        case Form.TIME:
            times = [to_micros(each) for each in operands if isinstance(each, datetime)]
            kinds = {f"{field.sql} IS NOT NULL": times}
        case Form.BOOLEAN:
            booleans = [each for each in operands if isinstance(each, bool)]
            kinds = {f"{field.sql} IS NOT NULL": booleans}
        case _:
            kinds = {
                f"typeof({field.sql}) = 'text'": [x for x in operands if isinstance(x, str)],
                f"typeof({field.sql}) IN ('integer', 'real')": [
                    x for x in operands if isinstance(x, int | float) and not isinstance(x, bool)
                ],
            }
    return [(guard, values) for guard, values in kinds.items() if values]
