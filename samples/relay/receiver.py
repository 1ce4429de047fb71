"""Listens on a free port of this machine, prints its URL and the first body it is sent."""

import http.server


class Handler(http.server.BaseHTTPRequestHandler):
    """Takes a POST."""

    def do_POST(self) -> None:
        """Print the body."""
        print(self.rfile.read(int(self.headers["Content-Length"])).decode(), flush=True)
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing else."""


with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
    print(f"http://127.0.0.1:{server.server_port}", flush=True)
    server.handle_request()
