"""Send a message, and look at what came of it: executions and logs."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import click

from abaco.cli.batches import send_batch
from abaco.cli.binary import send_file
from abaco.cli.client import ClientError
from abaco.cli.follow import FINAL, follow_execution
from abaco.cli.output import Columns, examples
from abaco.cli.session import (
    INTERRUPTED,
    JsonBody,
    Session,
    client_options,
    json_value,
    variables,
)

_COLUMNS = Columns(
    {
        "id": "id",
        "status": "status",
        "message_received_time": "received",
        "start_time": "started",
        "finish_time": "finished",
    },
    spare=frozenset({"start_time"}),
)

_NOT_TEXT = "is not UTF-8 text; --file sends bytes as they are"


def _parameters(
    context: click.Context, param: click.Parameter, items: Sequence[str]
) -> dict[str, str]:
    """Take the items of ``--param`` apart.

    Raises:
        click.BadParameter: An item is none, or would become something else than a variable.

    """
    pairs = variables(context, param, items)
    if "message" in pairs:
        raise click.BadParameter("a parameter of that name is the message itself; send it as TEXT")
    return pairs


@click.command(
    epilog=examples(
        'abaco send hello "How are you?" --wait',
        """abaco send hello --json '{"n": 3}' -p MODE=fast""",
        "abaco send hello --json @order.json -o json",
        "date | abaco send hello",
        "abaco send hello --file picture.png",
        "abaco send hello --batch orders.jsonl --idempotency-key orders-7",
    )
)
@click.argument("actor")
@click.argument("text", required=False)
@click.option(
    "--json",
    "json_body",
    metavar="JSON|@FILE",
    callback=json_value,
    help="Send this JSON value instead of text.",
)
@click.option(
    "--file",
    "file",
    metavar="FILE",
    help="Send the bytes of FILE as a binary message; - is standard input.",
)
@click.option(
    "--param",
    "-p",
    metavar="NAME=VALUE",
    multiple=True,
    callback=_parameters,
    help="Environment variable of this execution; may be repeated.",
)
@click.option("--wait", "-w", is_flag=True, help="Show the log and return when it has ended.")
@click.option("--timeout", type=float, help="Seconds for --wait; without it as long as it takes.")
@click.option(
    "--exit-code", is_flag=True, help="Wait, and return the exit code of the actor's program."
)
@click.option(
    "--idempotency-key",
    metavar="KEY",
    help="Make this safe to repeat: the same KEY and message give the same execution.",
)
@click.option(
    "--batch",
    metavar="FILE",
    help="Send each line of FILE, a JSON value, as a message; - is standard input.",
)
@click.option(
    "--batch-size",
    type=click.IntRange(min=1),
    default=500,
    show_default=True,
    help="Messages of --batch that go into one request.",
)
@client_options(json_flag=False)
def send(
    session: Session,
    actor: str,
    text: str | None,
    *,
    json_body: JsonBody | None,
    file: str | None,
    param: dict[str, str],
    wait: bool,
    timeout: float | None,
    exit_code: bool,
    idempotency_key: str | None,
    batch: str | None,
    batch_size: int,
) -> None:
    """Send a message to ACTOR: TEXT, a JSON value, a file, or else what standard input holds.

    With --wait the log goes to standard output, and the command ends with 0 once the execution
    is COMPLETE. That says that the container ran and ended, not that its program was happy: an
    exit code other than 0, a halt (abaco halt) and a stop after max_run_time are COMPLETE too,
    with the exit code (137 or 143 when stopped) and the reason on the last line. --exit-code
    returns the program's exit code instead of 0. ERROR means that no container could be run; the
    command then ends with 1, as it does when --timeout is over.

    With --batch the ids of the executions are printed in the order of the lines. A line that is an
    object with "message" is that message, and may have "environment", variables of its own.
    """
    if batch is not None:
        has_message = any(each is not None for each in (text, json_body, file))
        if has_message or wait or exit_code:
            raise click.UsageError("--batch goes with neither a message nor waiting")
        actor_id = session.find_actor_id(actor)
        send_batch(session, actor_id, batch, size=batch_size, query=param, key=idempotency_key)
        return
    if file is not None and (text is not None or json_body is not None):
        raise click.UsageError("send either --file or TEXT or --json, not several of them")
    body = None if file is not None else _message(text, json_body)
    actor_id = session.find_actor_id(actor)
    if file is not None:
        answer = send_file(session, actor_id, file, query=param, key=idempotency_key)
    else:
        headers = {} if idempotency_key is None else {"Idempotency-Key": idempotency_key}
        answer = session.client.request(
            "POST", [actor_id, "messages"], query=param, headers=headers, body=body
        )
    execution_id = str(answer["execution_id"])
    if wait or exit_code:
        execution = _follow(session, actor, actor_id, execution_id, timeout_s=timeout)
        _end(execution, use_exit_code=exit_code)
    elif session.printer.as_json:
        session.printer.json(answer)
    else:
        click.echo(execution_id)
        session.printer.say(f"accepted; `abaco logs {actor} {execution_id} --follow` shows its log")


def _message(text: str | None, json_body: JsonBody | None) -> Any:
    if text is not None and json_body is not None:
        raise click.UsageError("send either TEXT or --json, not both")
    if json_body is not None:
        return json_body.value
    if text is None:
        if sys.stdin is None or sys.stdin.isatty():
            raise click.UsageError("nothing to send: give TEXT or --json")
        try:
            text = sys.stdin.buffer.read().decode("utf-8")
        except UnicodeDecodeError as error:
            raise click.UsageError(f"standard input {_NOT_TEXT}") from error
    elif not _is_text(text):
        raise click.UsageError(f"TEXT {_NOT_TEXT}")
    return {"message": text}


def _is_text(argument: str) -> bool:
    """Tell text from bytes of the command line that are none; Python hides those in surrogates."""
    try:
        argument.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _follow(
    session: Session, actor: str, actor_id: str, execution_id: str, *, timeout_s: float | None
) -> dict[str, Any]:
    """Show log and end of an execution, or collect both for JSON output.

    Ctrl-C ends the watching, and so the command; the execution goes on.
    """
    try:
        return _show_to_the_end(session, actor_id, execution_id, timeout_s=timeout_s)
    except KeyboardInterrupt:
        click.echo(
            f"\nexecution {execution_id} goes on; `abaco logs {actor} {execution_id} --follow`"
            " shows its log",
            err=True,
        )
        return click.get_current_context().exit(INTERRUPTED)


def _show_to_the_end(
    session: Session, actor_id: str, execution_id: str, *, timeout_s: float | None
) -> dict[str, Any]:
    printer = session.printer
    pieces: list[str] = []

    with printer.progress(f"execution {execution_id} is accepted") as progress:

        def on_log(text: str) -> None:
            pieces.append(text)
            if not printer.as_json:
                progress.close()
                click.echo(text, nl=False)

        execution = follow_execution(
            session.client,
            actor_id,
            execution_id,
            on_log=on_log,
            on_status=progress.show,
            timeout_s=timeout_s,
        )
    if printer.as_json:
        printer.json(execution | {"logs": "".join(pieces)})
    else:
        if pieces and not pieces[-1].endswith("\n"):
            click.echo()
        printer.say(_summary(execution))
    return execution


def _summary(execution: Mapping[str, Any]) -> str:
    words = [f"execution {execution['id']}: {execution['status']}"]
    if execution["status"] in FINAL:
        words.append(f"exit code {execution.get('exit_code')}")
        words += _used(execution)
    reason = (execution.get("final_state") or {}).get("AbacoReason")
    return ", ".join([*words, reason] if reason else words)


def _used(execution: Mapping[str, Any]) -> Iterator[str]:
    """Say what an execution used, as far as the server knows it; older ones tell seconds only."""
    runtime_ms = execution.get("runtime_ms")
    yield f"{execution.get('runtime')} s" if runtime_ms is None else f"{runtime_ms / 1000:.2f} s"
    if cpu_ns := execution.get("cpu"):
        yield f"{cpu_ns / 1e9:.2f} s of CPU"
    if peak := execution.get("memory_peak"):
        yield f"{peak / 1024**2:.0f} MiB of memory"


def _end(execution: Mapping[str, Any], *, use_exit_code: bool) -> None:
    """End the command with the exit code that fits how the execution ended."""
    status, code = execution["status"], execution.get("exit_code")
    if status not in FINAL:
        raise ClientError(
            f"the time is up; execution {execution['id']} is {status} and goes on without us"
        )
    if status == "ERROR":
        raise ClientError(f"execution {execution['id']} ended with ERROR")
    if use_exit_code:
        click.get_current_context().exit(code if isinstance(code, int) else 1)


@click.command()
@click.argument("actor")
@click.argument("execution", required=False)
@client_options()
def executions(session: Session, actor: str, execution: str | None) -> None:
    """List the executions of ACTOR, oldest first, or show one EXECUTION."""
    actor_id = session.find_actor_id(actor)
    if execution is not None:
        session.printer.record(session.client.get(actor_id, "executions", execution))
        return
    summary = session.client.get(actor_id, "executions")
    if session.printer.as_json:
        session.printer.json(summary)
        return
    session.printer.table(
        summary["executions"], _COLUMNS, empty=f"no executions yet; try `abaco send {actor} hello`"
    )


@click.command()
@click.argument("actor")
@click.argument("execution")
@client_options()
def halt(session: Session, actor: str, execution: str) -> None:
    """Stop a running EXECUTION of ACTOR."""
    actor_id = session.find_actor_id(actor)
    session.client.request("DELETE", [actor_id, "executions", execution])
    if session.printer.as_json:
        session.printer.json({"id": execution})
    session.printer.say(f"asked execution {execution} to stop")


@click.command()
@click.argument("actor")
@click.argument("execution", required=False)
@click.option("--follow", "-f", is_flag=True, help="Go on printing until the execution has ended.")
@client_options()
def logs(session: Session, actor: str, execution: str | None, *, follow: bool) -> None:
    """Print what an EXECUTION of ACTOR wrote; the latest one's if none is named."""
    actor_id = session.find_actor_id(actor)
    execution_id = execution or _latest(session, actor_id)
    if follow:
        _follow(session, actor, actor_id, execution_id, timeout_s=None)
        return
    text = session.client.get(actor_id, "executions", execution_id, "logs")["logs"]
    if session.printer.as_json:
        session.printer.json({"execution_id": execution_id, "logs": text})
    elif text:
        click.echo(text, nl=not str(text).endswith("\n"))
    else:
        status = session.client.get(actor_id, "executions", execution_id)["status"]
        if status == "SUBMITTED":
            session.printer.say(
                f"execution {execution_id} has not begun: its message waits; --follow waits too"
            )


def _latest(session: Session, actor_id: str) -> str:
    """Return the id of the execution that was accepted last."""
    found = session.client.get(actor_id, "executions")["executions"]
    if not found:
        raise ClientError("this actor has no executions yet")
    return str(found[-1]["id"])
