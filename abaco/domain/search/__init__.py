"""Searching: parameters to a query, records to documents, and which document a query finds.

A document is what a client is shown of a record: found is what can be seen, and nothing else.
"""

from abaco.domain.search.evaluate import accepts, grade, value_at
from abaco.domain.search.parsing import parse_kind, parse_query
from abaco.domain.search.query import Clause, Operator, Query, SearchKind, SearchScope

__all__ = [
    "Clause",
    "Operator",
    "Query",
    "SearchKind",
    "SearchScope",
    "accepts",
    "grade",
    "parse_kind",
    "parse_query",
    "value_at",
]
