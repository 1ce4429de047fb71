"""Tells, each time its schedule comes, what the owner's actors did since the last time.

A stateful actor with ``cron_schedule``: its state keeps how many executions each actor had, so that
a report is about what is new. The report is a text result, and in the log.
"""

import sys
from collections import Counter

import actors


def main():
    """Report."""
    client = actors.get_client()
    own = actors.get_context().actor_id
    state = actors.get_state()
    known = state.get("known", {}) if isinstance(state, dict) else {}
    lines, now = [], {}
    for actor in client.list_actors():
        executions = client.list_executions(actor["id"])
        now[actor["id"]] = len(executions)
        fresh = executions[known.get(actor["id"], 0) :]
        if fresh and actor["id"] != own:
            lines.append(line_of(actor, fresh))
    report = "\n".join([f"{len(now)} actors, {len(lines)} of them busy", *lines])
    print(report)
    actors.send_bytes_result(report.encode())
    actors.update_state({"known": now})


def line_of(actor, executions):
    """Say in a line what an actor did."""
    statuses = Counter(str(execution["status"]) for execution in executions)
    told = ", ".join(f"{count} {status}" for status, count in sorted(statuses.items()))
    return "{}: {}".format(actor.get("name") or actor["id"], told)


if __name__ == "__main__":
    sys.exit(main())
