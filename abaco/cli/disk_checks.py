"""What ``abaco doctor`` says of what is on the disk: the database, and large results."""

from __future__ import annotations

from collections.abc import Iterator

from abaco.cli.findings import Finding, Level
from abaco.config import Settings
from backends.stores.sqlite.header import read_version
from backends.stores.sqlite.schema import MIGRATIONS


def check_database(settings: Settings) -> Iterator[Finding]:
    """Check that this program can use the database that is there, and say if it will change it."""
    path = settings.database_path
    if settings.store.backend != "sqlite":
        return
    try:
        version = read_version(path)
    except (OSError, ValueError) as error:
        yield Finding(
            check="database",
            level=Level.ERROR,
            what=f"{path} cannot be used: {error}",
            remedy="restore it from a copy, or name another file with [store] path",
        )
        return
    if version is None:
        return
    known = len(MIGRATIONS)
    if version > known:
        yield Finding(
            check="database",
            level=Level.ERROR,
            what=f"{path} has schema version {version}, this program knows {known}",
            remedy="start the newer Abaco that wrote it, or restore a copy from before",
        )
    elif version < known:
        yield Finding(
            check="database",
            level=Level.WARNING,
            what=f"the start brings {path} from schema version {version} to {known}; older"
            " programs cannot use it from then on",
            remedy="copy the data directory first (docs/operating.rst)",
        )
    else:
        yield Finding(check="database", level=Level.OK, what=f"schema version {version}")


def check_large_results(settings: Settings) -> Iterator[Finding]:
    """Check where containers leave large results, and whom they take the room from."""
    if not settings.runtime.large_results:
        return
    place = settings.runtime.large_results_dir
    if place is None or not place.is_dir():
        yield Finding(
            check="results",
            level=Level.WARNING if place is None else Level.ERROR,
            what="containers can fill the disk of data_dir with large results"
            if place is None
            else f"[runtime] large_results_dir {place} is no directory",
            remedy="[runtime] large_results_dir: a directory on a file system of its own",
        )
        return
    data = settings.general.data_dir
    existing = next(above for above in (data, *data.parents) if above.exists())
    is_shared = place.stat().st_dev == existing.stat().st_dev
    yield Finding(
        check="results",
        level=Level.WARNING if is_shared else Level.OK,
        what=f"{place} is on the disk of data_dir, which containers can fill"
        if is_shared
        else f"large results are on a file system of their own, {place}",
        remedy="mount a file system of its own there" if is_shared else "",
    )
