"""The server killed while its key is replaced, for real: every secret can be read afterwards."""

from __future__ import annotations

import ast
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from tests.support.server import Server, a_server

COUNT = 150
PATH = "/actors/admin/encryption-key"


@pytest.fixture
def lone(tmp_path: Path) -> Iterator[Server]:
    """A server on a scripted engine, whose containers print their environment."""
    # old keys are kept for twice the time a store may take
    settings = {"engine.driver": "scripted", "store.timeout_s": "2"}
    with a_server(tmp_path, settings) as server:
        yield server


def keys_of(server: Server) -> list[Fernet]:
    text = (server.directory / "data" / "encryption.keys").read_text()
    return [Fernet(line) for line in text.split()]


def secrets_of(server: Server) -> dict[str, str]:
    """The ciphertexts in the file of the store, by name."""
    with closing(sqlite3.connect(server.directory / "data" / "abaco.db")) as connection:
        return dict(connection.execute("SELECT name, value FROM configs").fetchall())


def count_current(server: Server) -> int:
    """See that each secret can be read with the keys there are; count those of the first."""
    keys = keys_of(server)
    first, every = keys[0], MultiFernet(keys)
    found = secrets_of(server)
    assert len(found) == COUNT
    current = 0
    for name, ciphertext in found.items():
        assert every.decrypt(ciphertext).decode() == f"value of {name}"
        try:
            first.decrypt(ciphertext)
        except InvalidToken:
            continue
        current += 1
    return current


def add_secrets(server: Server, actor: str) -> None:
    for number in range(COUNT):
        name = f"c{number}"
        body = {"name": name, "value": f"value of {name}", "is_secret": True, "actors": actor}
        server.call("POST", "/actors/configs", body)


def test_a_server_killed_again_and_again_in_mid_rotation_loses_no_secret(lone: Server) -> None:
    actor = lone.register("abaco_test")
    add_secrets(lone, actor)
    between = 0
    for pause_s in (0.0, 0.005, 0.02, 0.05, 0.1, 0.2):
        lone.call("POST", PATH)
        time.sleep(pause_s)
        lone.kill()
        current = count_current(lone)
        between += 0 < current < COUNT
        assert len(keys_of(lone)) >= 2
        lone.start()
    assert between, "never killed in the middle: the test shows nothing"
    # the server goes on by itself; nobody asks it to
    lone.until(lambda: len(keys_of(lone)) == 1, "the old keys to be dropped")
    assert count_current(lone) == COUNT
    execution = lone.send(actor, "hello")
    assert lone.until_final(actor, execution)["status"] == "COMPLETE"
    lines = lone.logs(actor, execution).splitlines()
    (line,) = [each for each in lines if each.startswith("_actor_configs=")]
    given = ast.literal_eval(line.partition("=")[2])
    assert given == {f"c{number}": f"value of c{number}" for number in range(COUNT)}
    log = lone.log()
    assert "value of" not in log
    assert not [
        key
        for key in (lone.directory / "data" / "encryption.keys").read_text().split()
        if key in log
    ]
