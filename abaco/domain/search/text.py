"""Looking for words and phrases, and which document matches best.

A word or phrase stands in a text where it is written letter by letter, whatever their case, and
is not cut out of a longer word: letters, digits and underscores make words, all else parts them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

_NO_WORD = re.compile(r"\W")

#: one more word found outweighs any number of repetitions
_WORD_WEIGHT = 1_000_000


def fold(text: str) -> str:
    """Forget letter case."""
    return text.casefold()


def grade_text(texts: Iterable[str], phrases: Sequence[str], words: Sequence[str]) -> int:
    """Grade a document by the texts in it; 0 when it is not found.

    The more of the words it has, the higher; among equals, the more often they stand in it.

    Args:
        texts: All of the document's.
        phrases: Folded; all must stand in some text.
        words: Folded; one of them must, if there are any.

    """
    folded = [fold(text) for text in texts]
    for phrase in phrases:
        if not any(_count(text, phrase, at_most=1) for text in folded):
            return 0
    if not words:
        return 1
    counts = [sum(_count(text, word, at_most=_WORD_WEIGHT) for text in folded) for word in words]
    found = [count for count in counts if count]
    return len(found) * _WORD_WEIGHT + min(sum(found), _WORD_WEIGHT - 1) if found else 0


def texts_in(value: Any) -> Iterator[str]:
    """Yield every text in a JSON value; keys of objects are none."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from texts_in(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from texts_in(item)


def _count(text: str, phrase: str, *, at_most: int) -> int:
    count, start = 0, text.find(phrase)
    while start >= 0 and count < at_most:
        end = start + len(phrase)
        if _is_edge(text, start) and _is_edge(text, end):
            count += 1
            start = text.find(phrase, end)
        else:
            start = text.find(phrase, _next_edge(text, start + 1))
    return count


def _next_edge(text: str, place: int) -> int:
    """Skip the rest of a word: nothing stands there that begins with it. Keeps time linear."""
    if _is_edge(text, place):
        return place
    found = _NO_WORD.search(text, place)
    return len(text) if found is None else found.start()


def _is_edge(text: str, place: int) -> bool:
    """Tell whether no word goes on across this place."""
    around = text[max(0, place - 1) : place + 1]
    return place == 0 or len(around) < 2 or _NO_WORD.search(around) is not None
