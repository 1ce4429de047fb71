"""A client service and a token endpoint as the older platform had them."""

from __future__ import annotations

import base64
import http.server
import json
import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import parse_qs

SERVICE = "service:pass:word"


class ClientServiceStub:
    """Clients by name; tokens with their owner. ``asked`` has method, path and form."""

    def __init__(self) -> None:
        self.url = ""
        self.clients: dict[str, tuple[str, str]] = {}
        self.owners: dict[str, str] = {}
        self.refreshes: dict[str, str] = {}
        self.asked: list[tuple[str, str, dict[str, str]]] = []
        self.half_made = 0
        self.refuses_deletion = False
        self.expires_in: Any = 14_400

    def answer(
        self, method: str, path: str, user: str, form: dict[str, str]
    ) -> tuple[int, dict[str, Any]]:
        self.asked.append((method, path, form))
        if path.startswith("/clients/v2"):
            return self._clients(method, path, user, form)
        if path == "/token" and method == "POST":
            return self._token(user, form)
        return 404, {}

    def _clients(
        self, method: str, path: str, user: str, form: dict[str, str]
    ) -> tuple[int, dict[str, Any]]:
        if user != SERVICE:
            return 401, {"message": "Login failed"}
        if method == "DELETE":
            if self.refuses_deletion:
                return 400, {"message": "no"}
            gone = self.clients.pop(path.rpartition("/")[2], None)
            return (200, {"result": None}) if gone else (404, {"message": "no such client"})
        name = form["clientName"]
        self.clients[name] = secrets.token_hex(8), secrets.token_hex(8)
        if self.half_made:
            self.half_made -= 1
            return 200, {"message": f"Unable to generate credentials for {name}", "result": None}
        key, secret = self.clients[name]
        return 201, {"result": {"consumerKey": key, "consumerSecret": secret, "name": name}}

    def _token(self, user: str, form: dict[str, str]) -> tuple[int, dict[str, Any]]:
        key, _, secret = user.partition(":")
        if (key, secret) not in self.clients.values() or form.get("scope") != "PRODUCTION":
            return 401, {"error": "invalid_client"}
        if form["grant_type"] == "admin_password":
            if f"{form['username']}:{form['password']}" != SERVICE:
                return 400, {"error": "invalid_grant"}
            owner = form["token_username"]
        elif form["grant_type"] == "refresh_token":
            known = self.refreshes.pop(form["refresh_token"], None)
            if known is None:
                return 400, {"error": "invalid_grant"}
            owner = known
        else:
            return 400, {"error": "unsupported_grant_type"}
        token, refresh = secrets.token_hex(8), secrets.token_hex(8)
        self.owners[token], self.refreshes[refresh] = owner, owner
        return 200, {
            "access_token": token,
            "refresh_token": refresh,
            "expires_in": self.expires_in,
            "token_type": "bearer",
        }


@contextmanager
def a_client_service() -> Iterator[ClientServiceStub]:
    """Serve on a free port of this machine."""
    stub = ClientServiceStub()

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _serve(self) -> None:
            length = int(self.headers.get("Content-Length", 0))
            form = {
                name: values[0]
                for name, values in parse_qs(self.rfile.read(length).decode()).items()
            }
            _, _, packed = self.headers.get("Authorization", "").partition(" ")
            user = base64.b64decode(packed).decode()
            status, body = stub.answer(self.command, self.path, user, form)
            payload = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(payload)))
            self.end_headers()
            self.wfile.write(payload)

        do_POST = _serve  # noqa: N815 - the names the server looks for
        do_DELETE = _serve  # noqa: N815

        def log_message(self, *args: Any) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    stub.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield stub
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
