"""Query parameters to a query; whatever is wrong is named as the client wrote it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from abaco.domain.search.query import DEFAULT_LIMIT, MAX_LIMIT, Clause, Operator, Query, SearchKind
from abaco.domain.search.text import fold
from abaco.domain.search.times import is_time_key
from abaco.domain.search.values import MAX_VALUES, operands_of
from abaco.errors import InvalidInputError

#: parameters with a meaning of their own
_LIMIT, _SKIP, _WORDS, _PHRASE = "limit", "skip", "search", "exactsearch"

#: most conditions, words and phrases of one query
MAX_CONDITIONS = 100
#: most characters of one word or phrase
MAX_PHRASE = 1000
#: as far as anybody may skip
MAX_SKIP = 2**31 - 1

#: longest piece of a parameter that a refusal repeats
_MAX_SHOWN = 80

_OPERATORS = {str(operator): operator for operator in Operator}
_INTEGER = re.compile(r"\s*[+-]?[0-9]{1,19}\s*")
_HUMP = re.compile(r"(?<=[a-z0-9])([A-Z])")


def parse_kind(text: str) -> SearchKind:
    """Read what is searched for; letter case makes no difference.

    Raises:
        InvalidInputError: There is no such kind.

    """
    try:
        return SearchKind(text.lower())
    except ValueError as error:
        raise InvalidInputError(
            f"{text[:_MAX_SHOWN]!r} cannot be searched; {', '.join(SearchKind)} can"
        ) from error


def parse_query(parameters: Mapping[str, Sequence[str]]) -> Query:
    """Read a query.

    Args:
        parameters: All values of each parameter, without the one that stands in for credentials.

    Raises:
        InvalidInputError: Names the parameter.

    """
    clauses: list[Clause] = []
    for key, values in parameters.items():
        if key not in (_LIMIT, _SKIP, _WORDS, _PHRASE):
            clauses += [_parse_clause(key, value) for value in values]
    query = Query(
        clauses=tuple(clauses),
        phrases=_fold_all(_PHRASE, [text.strip() for text in parameters.get(_PHRASE, ())]),
        words=_fold_all(_WORDS, " ".join(parameters.get(_WORDS, ())).split()),
        limit=_parse_count(parameters, _LIMIT, DEFAULT_LIMIT, MAX_LIMIT),
        skip=_parse_count(parameters, _SKIP, 0, MAX_SKIP),
    )
    if len(query.clauses) + len(query.phrases) + len(query.words) > MAX_CONDITIONS:
        raise InvalidInputError(f"a search has at most {MAX_CONDITIONS} conditions and words")
    if sum(len(clause.operands) for clause in clauses) > MAX_VALUES:
        raise InvalidInputError(f"a search has at most {MAX_VALUES} values in its lists")
    return query


def _parse_clause(key: str, text: str) -> Clause:
    if "$" in key or not key:
        raise _refusal(key, "is no field: keys hold no $ and are not empty")
    first, *rest = key.split(".")
    operator = _OPERATORS.get(rest[-1]) if rest else None
    if operator is not None:
        rest = rest[:-1]
    path = (_snake(first), *rest)
    try:
        operands = operands_of(operator or Operator.EQ, text, is_time=is_time_key(".".join(path)))
    except ValueError as error:
        raise _refusal(key, str(error)) from error
    return Clause(path, operator or Operator.EQ, operands)


def _snake(name: str) -> str:
    """Spell a camel name in snake; a snake name stays."""
    return _HUMP.sub(lambda match: f"_{match[1].lower()}", name)


def _fold_all(key: str, texts: Sequence[str]) -> tuple[str, ...]:
    if any(len(text) > MAX_PHRASE for text in texts):
        raise _refusal(key, f"must be at most {MAX_PHRASE} characters long")
    # once is enough, and blanks ask for nothing
    return tuple(dict.fromkeys(fold(text) for text in texts if text))


def _parse_count(parameters: Mapping[str, Sequence[str]], key: str, default: int, most: int) -> int:
    text = next(iter(parameters.get(key, ())), None)
    if text is None:
        return default
    number = int(text) if _INTEGER.fullmatch(text) else -1
    if not 0 <= number <= most:
        raise _refusal(key, f"must be an integer from 0 to {most}")
    return number


def _refusal(key: str, reason: str) -> InvalidInputError:
    return InvalidInputError(f"{key[:_MAX_SHOWN]}: {reason}")
