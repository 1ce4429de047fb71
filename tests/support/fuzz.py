"""Sends made-up requests to a server of its own and judges what comes back by the description.

``python -m tests.support.fuzz --max-examples 200``, see ``scripts/fuzz``. Schemathesis makes the
requests: examples, values at the edges, random valid and invalid ones, and chains of calls.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.http.site import PUBLIC_KEY, make_token
from tests.support.server import a_server

#: tenant that the served description shows in the name of the gateway's header
HEADER = "X-JWT-Assertion-DEV"

SETTINGS = {
    "store.backend": "memory",
    "engine.driver": "scripted",
    "web.accept_nonce": "true",
    # Without it a valid registration may be refused.
    "workers.allow_privileged": "true",
    # So that a refusal of rights is none of a request that breaks the description.
    "web.modern_status": "true",
}
MODES = {
    "none": {"web.access_control": "none", "web.case": "snake"},
    "jwt": {
        "web.access_control": "jwt",
        "web.case": "camel",
        "web.apim_public_key": PUBLIC_KEY,
        "web.user_role": "Internal/everyone",
    },
}


def fuzz(mode: str, max_examples: int, *more: str) -> int:
    """Run all phases against a fresh server; return the exit code."""
    environment = {
        **os.environ,
        "SCHEMATHESIS_HOOKS": "tests.support.fuzz_hooks",
        "PYTHONPATH": str(Path(__file__).parents[2]),
    }
    command = [
        *(sys.executable, "-m", "schemathesis.cli"),
        *("--config-file", str(Path(__file__).with_name("schemathesis.toml"))),
        "run",
        *("--max-examples", str(max_examples)),
        *more,
    ]
    if mode == "jwt":
        token = make_token("testuser")
        environment["ABACO_FUZZ_HEADER"] = f"{HEADER}:{token}"
        command += ["--header", f"{HEADER}:{token}"]
    with (
        tempfile.TemporaryDirectory() as directory,
        a_server(Path(directory), {**SETTINGS, **MODES[mode]}) as server,
    ):
        command.append(f"{server.url}/openapi.json")
        ended = subprocess.run(command, env=environment, cwd=directory, check=False)
        if "ERROR" in server.log():
            sys.stdout.write(server.log()[-20_000:])
    return ended.returncode


def main() -> int:
    """Fuzz in every mode that is asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mode", choices=MODES, action="append")
    parser.add_argument("--max-examples", type=int, default=200)
    chosen, more = parser.parse_known_args()
    codes = [fuzz(mode, chosen.max_examples, *more) for mode in chosen.mode or MODES]
    return max(codes)


if __name__ == "__main__":
    raise SystemExit(main())
