"""What ``abaco doctor`` says of the database that is there, and of the place of large results."""

import sqlite3
from contextlib import closing

import pytest

from abaco.cli import disk_checks
from abaco.cli.findings import Level
from abaco.config import GeneralSettings, RuntimeSettings, Settings, StoreSettings
from backends.stores.sqlite.database import prepare
from backends.stores.sqlite.header import read_version
from backends.stores.sqlite.schema import MIGRATIONS

KNOWN = len(MIGRATIONS)


def settings(tmp_path, **runtime):
    return Settings(general=GeneralSettings(data_dir=tmp_path), runtime=RuntimeSettings(**runtime))


def set_version(path, number):
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA user_version = {number}")


class TestDatabase:
    @pytest.fixture
    def path(self, tmp_path):
        prepare(tmp_path / "abaco.db", 1.0)
        return tmp_path / "abaco.db"

    def find(self, tmp_path):
        return list(disk_checks.check_database(settings(tmp_path)))

    def test_none_yet(self, tmp_path):
        assert self.find(tmp_path) == []
        (tmp_path / "abaco.db").touch()
        assert self.find(tmp_path) == []

    def test_one_of_this_program(self, tmp_path, path):
        (finding,) = self.find(tmp_path)
        assert finding.level is Level.OK
        assert str(KNOWN) in finding.what

    def test_an_older_one_will_be_changed(self, tmp_path, path):
        set_version(path, 13)
        (finding,) = self.find(tmp_path)
        assert finding.level is Level.WARNING
        assert f"from schema version 13 to {KNOWN}" in finding.what
        assert "copy" in finding.remedy

    def test_a_newer_one_cannot_be_used(self, tmp_path, path):
        set_version(path, KNOWN + 1)
        (finding,) = self.find(tmp_path)
        assert finding.level is Level.ERROR
        assert f"{KNOWN + 1}, this program knows {KNOWN}" in finding.what

    @pytest.mark.parametrize("content", [b"hello", b"x" * 200, b"SQLite format 3\x00"])
    def test_something_else_under_its_name(self, tmp_path, content):
        (tmp_path / "abaco.db").write_bytes(content)
        (finding,) = self.find(tmp_path)
        assert finding.level is Level.ERROR
        assert "no SQLite database" in finding.what

    def test_a_directory_under_its_name(self, tmp_path):
        (tmp_path / "abaco.db").mkdir()
        (finding,) = self.find(tmp_path)
        assert finding.level is Level.ERROR

    def test_it_is_not_opened(self, tmp_path, path):
        before = sorted(tmp_path.iterdir()), path.read_bytes()
        assert read_version(path) == KNOWN
        assert (sorted(tmp_path.iterdir()), path.read_bytes()) == before

    def test_a_store_in_memory_has_none(self, tmp_path, path):
        set_version(path, KNOWN + 1)
        found = settings(tmp_path).model_copy(update={"store": StoreSettings(backend="memory")})
        assert list(disk_checks.check_database(found)) == []


class TestLargeResults:
    def find(self, tmp_path, **runtime):
        return list(disk_checks.check_large_results(settings(tmp_path, **runtime)))

    def test_none_are_taken(self, tmp_path):
        assert self.find(tmp_path, large_results_dir=tmp_path / "away") == []

    def test_beside_the_data(self, tmp_path):
        (finding,) = self.find(tmp_path, large_results=True)
        assert finding.level is Level.WARNING
        assert "large_results_dir" in finding.remedy

    def test_a_place_that_is_not_there(self, tmp_path):
        place = tmp_path / "away"
        (finding,) = self.find(tmp_path, large_results=True, large_results_dir=place)
        assert finding.level is Level.ERROR
        assert str(place) in finding.what
        assert not place.exists()

    def test_a_place_on_the_same_disk(self, tmp_path):
        (finding,) = self.find(
            tmp_path / "none/yet", large_results=True, large_results_dir=tmp_path
        )
        assert finding.level is Level.WARNING
        assert "mount" in finding.remedy

    def test_a_file_system_of_its_own(self, tmp_path):
        (finding,) = self.find(tmp_path, large_results=True, large_results_dir="/dev")
        assert finding.level is Level.OK
        assert finding.remedy == ""
