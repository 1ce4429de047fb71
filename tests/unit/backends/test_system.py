"""The host's clocks, random ids, and the hold on the data directory."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import UTC, timedelta
from pathlib import Path

import pytest

from abaco.errors import ConfigError
from backends.system import RandomIds, SystemClock, hold_data_dir, is_held


def test_wall_time_is_aware_utc_and_monotonic_time_goes_on() -> None:
    clock = SystemClock()
    assert clock.now().utcoffset() == timedelta(0)
    assert clock.now().tzinfo is UTC
    assert clock.monotonic() <= clock.monotonic()


def test_ids_are_distinct_and_recognised() -> None:
    ids = RandomIds("a salt")
    drawn = [ids.new_id() for _ in range(5000)]
    assert len(set(drawn)) == len(drawn)
    assert all(ids.is_id(one) for one in drawn)
    # under another salt about one in a hundred decodes by chance
    assert sum(RandomIds("another salt").is_id(one) for one in drawn) < len(drawn) / 10


def test_the_name_of_an_installation_stays(tmp_path: Path) -> None:
    directory = tmp_path / "made" / "here"
    with hold_data_dir(directory) as first:
        assert len(first) >= 16
        assert directory.stat().st_mode & 0o777 == 0o700
    with hold_data_dir(directory) as second:
        assert second == first
    with hold_data_dir(tmp_path / "elsewhere") as other:
        assert other != first


def test_a_second_process_is_refused_until_the_first_is_dead(tmp_path: Path) -> None:
    program = (
        "import sys, pathlib, time\n"
        "from backends.system import hold_data_dir\n"
        "with hold_data_dir(pathlib.Path(sys.argv[1])):\n"
        "    print('held', flush=True)\n"
        "    time.sleep(60)\n"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"held\n"
    with pytest.raises(ConfigError, match="in use by another"), hold_data_dir(tmp_path):
        pass
    holder.kill()
    holder.communicate()
    with hold_data_dir(tmp_path):
        pass


def test_a_directory_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(ConfigError, match=r"general.data_dir: .*file.* cannot be used"),
        hold_data_dir(tmp_path / "file" / "below"),
    ):
        pass


def test_a_fault_inside_the_hold_is_not_blamed_on_the_directory(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="mine"), hold_data_dir(tmp_path):
        raise OSError(os.EX_OSERR, "mine")


def test_who_asks_whether_it_is_held_changes_nothing(tmp_path: Path) -> None:
    assert not is_held(tmp_path)
    assert list(tmp_path.iterdir()) == []
    with hold_data_dir(tmp_path):
        assert is_held(tmp_path)
    assert not is_held(tmp_path)
    with hold_data_dir(tmp_path):
        assert is_held(tmp_path)
