"""What a Python program inside an actor's container needs: its message, its state, its results.

One file without dependencies, for Python 3.6 and later: copy it into an image, or install abaco
there. Importing it reads nothing and connects to nothing. ``docs/sdk.rst`` shows how it is used.

It knows nothing of the server but the container's contract (``docs/actors.rst``).
"""

# Typing in the words of Python 3.6, whatever the rest of Abaco uses.
import ast
import io
import json
import os
import socket
import stat
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, Dict, Iterator, List, Mapping, Optional, Tuple, Union
from urllib.error import HTTPError, URLError
from urllib.parse import quote, urlencode
from urllib.request import HTTPRedirectHandler, Request, build_opener

BINARY_DATA = Path("/_abaco_binary_data")
RESULTS_SOCKET = Path("/_abaco_results.sock")
#: there where the server takes larger results
RESULTS_DIRECTORY = Path("/_abaco_results.d")
#: bytes of the largest result the socket takes, unless the server has another limit
MAX_RESULT_BYTES = 131072

#: seconds an answer of the API may take
TIMEOUT_S = 60.0


class ActorError(Exception):
    """What goes wrong between an actor's program and its surroundings."""


class ResultTooLargeError(ActorError):
    """The result does not fit into one datagram, and there is no directory for larger ones."""


class UnreachableError(ActorError):
    """The server does not answer."""


class ApiError(ActorError):
    """The server said no.

    Attributes:
        status: The HTTP status.

    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__("{} (HTTP {})".format(message, status))
        self.status = status


class Context(Dict[str, Any]):
    """What the container was given, by key or by attribute."""

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None


# The message and what goes with it.


def get_context() -> Context:
    """Return the message, who sent it, and every variable of the environment.

    ``raw_message`` is the message's text, ``message_dict`` what it says if it is an object (else
    empty, and ``raw_message_parse_log`` says why), ``state`` the actor's state as text. What
    the server says wins over variables of the same name, which a sender may have chosen.
    """
    message = _raw_message()
    found, problem = _parse_dict(message)
    context = Context(os.environ)
    context.update(
        raw_message=message,
        content_type=_variable("_abaco_Content-Type") or _variable("_abaco_Content_Type"),
        execution_id=_variable("_abaco_execution_id"),
        username=_variable("_abaco_username"),
        state=_variable("_abaco_actor_state"),
        actor_id=_variable("_abaco_actor_id"),
        actor_dbid=_variable("_abaco_actor_dbid"),
        actor_name=_variable("_abaco_actor_name"),
        actor_repo=_variable("_abaco_container_repo"),
        worker_id=_variable("_abaco_worker_id"),
        message_dict=found,
        raw_message_parse_log=problem,
    )
    return context


def get_state() -> Any:
    """Return the state as it was when the container was started; ``{}`` before it is written."""
    return _value("_abaco_actor_state", "_abaco_actor_state_json")


def get_actor_configs() -> Dict[str, Any]:
    """Return the configs that list this actor, name to value, secrets in clear."""
    return dict(_value("_actor_configs", "_actor_configs_json") or {})


def get_binary_message() -> bytes:
    """Return a binary message whole; see ``open_binary_message`` for large ones.

    Raises:
        ActorError: The message is none.

    """
    with open_binary_message() as message:
        return message.read()


def open_binary_message() -> IO[bytes]:
    """Open a binary message to be read piece by piece.

    Raises:
        ActorError: The message is none.

    """
    try:
        status = BINARY_DATA.stat()
    except FileNotFoundError:
        raise ActorError("this message is not a binary one: it is in the variable MSG") from None
    if stat.S_ISFIFO(status.st_mode):
        return io.BytesIO(_drain_pipe())
    return BINARY_DATA.open("rb")


def _drain_pipe() -> bytes:
    """Read what is in the pipe; the server has put all of it there, and never closes its end."""
    pieces: List[bytes] = []
    descriptor = os.open(str(BINARY_DATA), os.O_RDONLY | os.O_NONBLOCK)
    try:
        with suppress(BlockingIOError):
            while not pieces or pieces[-1]:
                pieces.append(os.read(descriptor, 65536))
    finally:
        os.close(descriptor)
    return b"".join(pieces)


def _variable(name: str) -> Optional[str]:
    return os.environ.get(name)


def _raw_message() -> Optional[str]:
    file = _variable("_abaco_msg_file")
    if file:  # a text that no variable can hold
        return Path(file).read_text(encoding="utf-8")
    return _variable("MSG")


def _parse_dict(message: Optional[str]) -> Tuple[Dict[str, Any], str]:
    """Return the message if it is an object, and else why it is none."""
    twin = _variable("_abaco_msg_json")
    try:
        found = json.loads(twin) if twin else message or ""
        if isinstance(found, str):
            found = _parse(found)
    except ValueError as error:
        return {}, "the message is no object: {}".format(error)
    if isinstance(found, dict):
        return found, ""
    return {}, "the message is no object but of type {}".format(type(found).__name__)


def _value(name: str, twin: str) -> Any:
    """Return a value that has a text form, and perhaps a JSON form; a plain text as it is."""
    as_json = _variable(twin)
    if as_json:
        return json.loads(as_json)
    text = _variable(name) or "{}"
    try:
        return _parse(text)
    except ValueError:
        return text


def _parse(text: str) -> Any:
    """Read Python's text form of a value, or else JSON. Raises ValueError."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError):
        return json.loads(text)


# Results.


def send_bytes_result(result: bytes) -> None:
    """Hand back a result, which is there for others at once.

    One above the limit of the socket goes to the directory for large ones, where the server has
    it; others see that one when the program has ended.

    Raises:
        TypeError: It is not bytes.
        ActorError: It is empty, the server cannot take it, or (ResultTooLargeError) it is too big.

    """
    if not isinstance(result, (bytes, bytearray)):
        raise TypeError("a result is bytes, not {}".format(type(result).__name__))
    if not result:
        raise ActorError("an empty result is none")
    if len(result) <= MAX_RESULT_BYTES:
        _send_datagram(result)
    elif RESULTS_DIRECTORY.is_dir():
        _leave_file(result)
    else:
        raise ResultTooLargeError(_too_large(len(result)))


def send_python_result(result: Any) -> None:
    """Hand back any Python value, pickled by cloudpickle.

    Raises:
        ActorError: cloudpickle is not in the image, or as ``send_bytes_result``.

    """
    send_bytes_result(_cloudpickle().dumps(result))


def _too_large(size: int) -> str:
    return (
        "a result of {} bytes is too large, the limit is {}: send it in pieces, or have the server"
        " take larger ones as files ([runtime] large_results)".format(size, MAX_RESULT_BYTES)
    )


def _send_datagram(data: bytes) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as results:
        try:
            results.connect(str(RESULTS_SOCKET))
            results.send(data)
        except ConnectionRefusedError as error:
            raise ActorError(
                "results of this run cannot be sent any more: the server was started anew"
            ) from error
        except OSError as error:
            raise ActorError("the result cannot be sent: {}".format(error)) from error


def _leave_file(data: bytes) -> None:
    """Leave a file, whole or not at all, behind those that are there."""
    hidden = RESULTS_DIRECTORY / ".{}-{}".format(os.getpid(), os.urandom(8).hex())
    try:
        with hidden.open("xb") as new:
            new.write(data)
        number = sum(not file.name.startswith(".") for file in RESULTS_DIRECTORY.iterdir())
        while True:
            try:  # unlike a renaming, a link never replaces
                os.link(str(hidden), str(RESULTS_DIRECTORY / "{:012d}".format(number)))
            except FileExistsError:
                number += 1
            else:
                break
        hidden.unlink()
    except OSError as error:
        with suppress(OSError):
            hidden.unlink()
        raise ActorError("the result cannot be left as a file: {}".format(error)) from error


def _cloudpickle() -> Any:
    try:
        import cloudpickle
    except ImportError as error:
        raise ActorError(
            "Python values travel by cloudpickle, which is not here: pip install cloudpickle"
        ) from error
    return cloudpickle


# The API.


class _NoRedirect(HTTPRedirectHandler):
    """Follows no redirect: the token is for the server alone."""

    def redirect_request(self, *_args: Any) -> None:
        return None


class Client:
    """The API of the server that runs this actor; ``get_client`` makes one.

    What the server answers with is returned as it spells it. Every method raises ApiError or
    UnreachableError.

    Args:
        url: Base URL of the server.
        token: Sent as a bearer token; none when empty.

    """

    def __init__(self, url: str, token: str = "") -> None:
        self.url = url.rstrip("/")
        self._token = token
        self._opener = build_opener(_NoRedirect)

    def list_actors(self) -> List[Dict[str, Any]]:
        """Return the actors one may see."""
        return list(self._call("GET"))

    def get_actor(self, actor: str) -> Dict[str, Any]:
        """Return an actor."""
        return dict(self._call("GET", actor))

    def get_state(self, actor: str) -> Any:
        """Return an actor's state as it is now."""
        return self._call("GET", actor, "state")["state"]

    def update_state(self, actor: str, state: Any) -> None:
        """Replace an actor's state by a JSON value."""
        self._call("POST", actor, "state", json_body=state)

    def send_message(
        self, actor: str, message: Any, environment: Optional[Mapping[str, str]] = None
    ) -> str:
        """Send a text, or another JSON value; return the id of its execution."""
        body = {"message": message}
        sent = self._call("POST", actor, "messages", query=environment, json_body=body)
        return _execution_id(sent)

    def send_binary_message(
        self,
        actor: str,
        message: Union[bytes, IO[bytes]],
        environment: Optional[Mapping[str, str]] = None,
    ) -> str:
        """Send bytes, or a file from where it stands; return the id of the execution."""
        size = len(message) if isinstance(message, bytes) else _size_left(message)
        headers = {"Content-Type": "application/octet-stream", "Content-Length": str(size)}
        parts = (actor, "messages")
        answer = self._send("POST", parts, environment, body=message, headers=headers)
        return _execution_id(_result(answer))

    def list_executions(self, actor: str) -> List[Dict[str, Any]]:
        """Return an actor's executions, oldest first."""
        return list(self._call("GET", actor, "executions")["executions"])

    def get_execution(self, actor: str, execution: str, wait_s: float = 0) -> Dict[str, Any]:
        """Return an execution; as soon as it is final, or as it is after so many seconds."""
        wait = {"wait": str(min(wait_s, TIMEOUT_S / 2))} if wait_s else None
        return dict(self._call("GET", actor, "executions", execution, query=wait))

    def take_result(self, actor: str, execution: str) -> bytes:
        """Take the oldest result away; empty when there is none."""
        return self._send("GET", (actor, "executions", execution, "results"))

    def take_results(self, actor: str, execution: str) -> Iterator[bytes]:
        """Take results away until there is none."""
        result = self.take_result(actor, execution)
        while result:
            yield result
            result = self.take_result(actor, execution)

    def get_logs(self, actor: str, execution: str) -> str:
        """Return an execution's log."""
        return str(self._call("GET", actor, "executions", execution, "logs")["logs"])

    def list_nonces(self, actor: str) -> List[Dict[str, Any]]:
        """Return an actor's nonces."""
        return list(self._call("GET", actor, "nonces"))

    def add_nonce(self, actor: str, **attributes: Any) -> Dict[str, Any]:
        """Make a nonce; the attributes are those of the API."""
        return dict(self._call("POST", actor, "nonces", json_body=attributes))

    def delete_nonce(self, actor: str, nonce: str) -> None:
        """Delete a nonce."""
        self._call("DELETE", actor, "nonces", nonce)

    def _call(
        self,
        method: str,
        *parts: str,
        query: Optional[Mapping[str, str]] = None,
        json_body: Any = ...,
    ) -> Any:
        if json_body is ...:
            return _result(self._send(method, parts, query))
        headers = {"Content-Type": "application/json"}
        body = json.dumps(json_body).encode()
        return _result(self._send(method, parts, query, body=body, headers=headers))

    def _send(
        self,
        method: str,
        parts: Tuple[str, ...],
        query: Optional[Mapping[str, str]] = None,
        body: Union[bytes, IO[bytes], None] = None,
        headers: Optional[Mapping[str, str]] = None,
    ) -> bytes:
        path = "/".join(["/actors/v2"] + [quote(part, safe="") for part in parts])
        url = self.url + path + ("?" + urlencode(query) if query else "")
        request = Request(url, data=body, method=method)  # noqa: S310 - see get_client
        request.add_header("Accept", "application/json")
        for name, value in (headers or {}).items():
            request.add_header(name, value)
        if self._token:
            request.add_header("Authorization", "Bearer " + self._token)
        try:
            with self._opener.open(request, timeout=TIMEOUT_S) as answer:
                return bytes(answer.read())
        except HTTPError as error:
            with error:
                raise ApiError(error.code, _message(error.read(100000), error.reason)) from None
        except (URLError, OSError) as error:
            reason = getattr(error, "reason", error)
            raise UnreachableError("no answer from {}: {}".format(self.url, reason)) from error


def get_client() -> Client:
    """Return a client of the server that runs this actor, with the actor's token if it has one.

    Raises:
        ActorError: The container was not told where the server is.

    """
    url = _variable("_abaco_api_server") or ""
    if not url.startswith(("http://", "https://")):
        raise ActorError("_abaco_api_server is no URL: this does not run as an actor")
    return Client(url, _variable("_abaco_access_token") or "")


def update_state(state: Any) -> None:
    """Replace the state of this actor by a JSON value; the next container is given it.

    Raises:
        ActorError: As those of ``get_client`` and of a client's methods.

    """
    get_client().update_state(_variable("_abaco_actor_id") or "", state)


def _result(answer: bytes) -> Any:
    try:
        return json.loads(answer.decode("utf-8"))["result"]
    except (ValueError, KeyError, TypeError) as error:
        raise ApiError(200, "the server does not answer like Abaco") from error


def _message(answer: bytes, reason: Any) -> str:
    try:
        return str(json.loads(answer.decode("utf-8"))["message"])
    except (ValueError, KeyError, TypeError):
        return str(reason)


def _execution_id(sent: Mapping[str, Any]) -> str:
    return str(sent.get("execution_id") or sent["executionId"])


def _size_left(file: IO[bytes]) -> int:
    start = file.tell()
    size = file.seek(0, os.SEEK_END) - start
    file.seek(start)
    return size
