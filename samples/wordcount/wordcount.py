"""Counts the words of its message, and adds them up in another actor if the message names one.

Message: a text, or ``{"text": "...", "reducer": "ID"}``. A reducer is a stateful actor of this very
image: it is sent ``{"count": {...}, "from": "EXECUTION"}`` and keeps the sum in its state.
"""

import json
import re
import sys
from collections import Counter

import actors

#: executions whose counts were added; a message may run again
REMEMBERED = 1000


def main():
    """Count, or add up."""
    context = actors.get_context()
    if "count" in context.message_dict:
        add_up(context.message_dict)
        return
    text = context.message_dict.get("text", context.raw_message or "")
    counts = Counter(re.findall(r"\w+", str(text).lower()))
    for word, count in counts.most_common():
        print(count, word)
    actors.send_bytes_result(json.dumps(counts).encode())
    reducer = context.message_dict.get("reducer")
    if reducer:
        message = {"count": counts, "from": context.execution_id}
        execution = actors.get_client().send_message(str(reducer), message)
        print("sent to", reducer, "as", execution)


def add_up(message):
    """Add the counts of a message to the state, once."""
    state = actors.get_state()
    seen = state.get("seen", [])
    if message["from"] in seen:
        print("counted already:", message["from"])
        return
    total = Counter(state.get("total", {}))
    total.update(message["count"])
    actors.update_state({"total": total, "seen": [*seen, message["from"]][-REMEMBERED:]})
    print("words so far:", sum(total.values()))


if __name__ == "__main__":
    sys.exit(main())
