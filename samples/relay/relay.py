"""Passes events on to a chat, or whatever takes JSON at a URL, in words of its own.

Make it the ``link`` of other actors: each of their events comes as a message. ``RELAY_URL`` (in its
default environment, or a config named ``relay-url``, which may be secret) is where to; without one
the words go to the log only.
"""

import json
import os
import sys
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

import actors

TIMEOUT_S = 10
WORDS = {
    "ACTOR_READY": "actor {actor_id} is ready",
    "ACTOR_ERROR": "actor {actor_id} is in ERROR: {status_message}",
    "EXECUTION_COMPLETE": "execution {execution_id} of actor {actor_id} ended with {exit_code}",
}


class Given(dict):
    """Fields of an event; those it lacks are question marks."""

    def __missing__(self, key):
        return "?"


def main():
    """Relay one event; a target that does not take it fails the execution, and its log says why."""
    event = actors.get_context().message_dict
    template = WORDS.get(str(event.get("event_type")), "{event_type} of actor {actor_id}")
    words = template.format_map(Given(event))
    print(words)
    url = actors.get_actor_configs().get("relay-url") or os.environ.get("RELAY_URL")
    if not url:
        return "no RELAY_URL: nothing is passed on"
    if not url.startswith(("http://", "https://")):
        return "RELAY_URL is no URL of a server"
    return pass_on(url, {"text": words, "event": event})


def pass_on(url, body):
    """Post JSON; return what went wrong, or None."""
    request = Request(url, data=json.dumps(body).encode(), method="POST")  # noqa: S310 - checked
    request.add_header("Content-Type", "application/json")
    try:
        with urlopen(request, timeout=TIMEOUT_S) as answer:  # noqa: S310 - checked
            print("passed on:", answer.status)
    except HTTPError as error:
        return f"refused: {error.code} {error.reason}"
    except (URLError, OSError) as error:
        return "nobody there: {}".format(getattr(error, "reason", error))
    return None


if __name__ == "__main__":
    sys.exit(main())
