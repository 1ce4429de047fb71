"""Mounts: how they are written, and what becomes of them for an owner."""

from __future__ import annotations

import posixpath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from abaco.domain.host_access import HostAccess
from abaco.domain.mount import (
    ENGINE_SOCKET,
    Mount,
    MountMode,
    MountTemplate,
    parse_mounts,
    resolve_mounts,
)

JANE = {"username": "jane", "tenant_id": "DEV", "tasdir": "/home/05/jane"}


def resolved(text: str, **names: str) -> list[tuple[str, str, str]]:
    mounts = resolve_mounts(parse_mounts(text), {**JANE, **names})
    return [(mount.host_path, mount.container_path, str(mount.mode)) for mount in mounts]


def base(text: str) -> str:
    (mount,) = resolve_mounts(parse_mounts(text), JANE)
    return mount.base


class TestWriting:
    def test_several_items(self) -> None:
        assert parse_mounts(" /a:/b:ro , /c/d:/e:rw,") == (
            MountTemplate(host_path="/a", container_path="/b", mode=MountMode.RO),
            MountTemplate(host_path="/c/d", container_path="/e", mode=MountMode.RW),
        )

    def test_none(self) -> None:
        assert parse_mounts("") == parse_mounts(" , ") == ()

    def test_one_host_path_may_be_mounted_more_than_once(self) -> None:
        assert resolved("/a:/b:ro, /a:/c:rw") == [("/a", "/b", "ro"), ("/a", "/c", "rw")]

    def test_mode_in_any_letter_case(self) -> None:
        assert resolved("/a:/b:RO") == [("/a", "/b", "ro")]

    def test_slashes_and_dots_that_mean_nothing(self) -> None:
        assert resolved("//a//b/./:/c/:rw") == [("/a/b", "/c", "rw")]

    @pytest.mark.parametrize(
        "item",
        [
            "/a",
            "/a:/b",
            "/a:/b:rw:z",
            "/a:/b:",
            "/a:/b:x",
            "/a:/b:rwx",
            "a:/b:ro",
            "./a:/b:ro",
            ":/b:ro",
            "/a::ro",
            "/a:b:ro",
            "/a/../b:/c:ro",
            "/..:/c:ro",
            "/a:/b/..:ro",
            "/a\x00:/b:ro",
            "/a:/b\n/c:ro",
            "/{user}:/b:ro",
            "/{}:/b:ro",
            "/{username:/b:ro",
            "/a}:/b:ro",
            "{username}:/b:ro",
            "/a:{username}:ro",
        ],
    )
    def test_an_item_that_cannot_be_used_is_named(self, item: str) -> None:
        with pytest.raises(ValueError, match=r"^'") as caught:
            parse_mounts(f"/fine:/fine:ro, {item}, /also:/also:rw")
        assert repr(item.strip()) in str(caught.value)
        assert "/fine" not in str(caught.value)

    @pytest.mark.parametrize(
        "path",
        [
            "/", "//", "/.", "/proc", "/proc/sys", "/sys", "/sys/fs/cgroup", "/dev", "/dev/shm",
            "/_abaco_results.sock", "/_abaco_binary_data", "/_abaco_x/y", ENGINE_SOCKET,
            "/run/docker.sock", "/run", "/var/run/",
        ],
    )  # fmt: skip
    def test_places_of_the_kernel_and_of_abaco_are_taken(self, path: str) -> None:
        with pytest.raises(ValueError, match="nothing can be mounted"):
            parse_mounts(f"/a:{path}:ro")

    @pytest.mark.parametrize("path", ["/procs", "/devel", "/sys2", "/abaco_", "/run/x", "/x/proc"])
    def test_places_that_only_look_alike_are_not(self, path: str) -> None:
        assert resolved(f"/a:{path}:ro") == [("/a", path, "ro")]

    def test_one_container_path_twice(self) -> None:
        with pytest.raises(ValueError, match="two items are mounted at '/b'"):
            parse_mounts("/a:/b:ro, /c:/b/:rw")


class TestNames:
    def test_placeholders_in_both_paths(self) -> None:
        text = "/data/{tenant_id}/{username}:/home/{username}:rw"
        assert resolved(text) == [("/data/DEV/jane", "/home/jane", "rw")]

    def test_a_home_may_be_absolute_or_below_something(self) -> None:
        assert resolved("{tasdir}:/work:rw") == [("/home/05/jane", "/work", "rw")]
        assert resolved("/corral/{tasdir}:/work:rw", tasdir="05/jane") == [
            ("/corral/05/jane", "/work", "rw")
        ]
        assert resolved("/corral{tasdir}:/work:rw") == [("/corral/home/05/jane", "/work", "rw")]

    def test_a_relative_home_alone_is_no_place(self) -> None:
        with pytest.raises(ValueError, match="does not begin with /"):
            resolved("{tasdir}:/work:rw", tasdir="05/jane")
        with pytest.raises(ValueError, match="does not begin with /"):
            resolved("/a:{tasdir}:rw", tasdir="05/jane")

    def test_what_needs_an_unknown_home_is_left_out(self) -> None:
        text = "{tasdir}:/work:rw, /data:/data:ro, /a:/b/{tasdir}:ro"
        assert resolved(text, tasdir="") == [("/data", "/data", "ro")]

    @pytest.mark.parametrize("name", ["..", ".", "a/b", "/", "/etc", "a/..", "x\0y", "x\ny"])
    @pytest.mark.parametrize("which", ["username", "tenant_id"])
    def test_names_that_would_lead_elsewhere(self, which: str, name: str) -> None:
        with pytest.raises(ValueError, match=r"cannot be part of a path|has '..' in it|be shown"):
            resolved(f"/data/{{{which}}}:/data:rw", **{which: name})
        assert resolved("/data:/data:rw", **{which: name}) == [("/data", "/data", "rw")]

    @pytest.mark.parametrize("home", ["/home/../etc", "../..", "/home/x\0"])
    def test_homes_that_would_lead_elsewhere(self, home: str) -> None:
        with pytest.raises(ValueError, match=r"has '..' in it|be shown"):
            resolved("/work/{tasdir}:/work:rw", tasdir=home)

    @pytest.mark.parametrize("name", ["a..b", "...", "jane@x.org", "j,d", "j:d", "{tasdir}", "ü"])
    def test_odd_names_that_are_only_names(self, name: str) -> None:
        assert resolved("/d/{username}:/d:ro", username=name) == [(f"/d/{name}", "/d", "ro")]

    @pytest.mark.parametrize("name", ["proc", "dev", "sys", "_abaco_results.sock", "run"])
    def test_a_name_does_not_reach_a_reserved_place(self, name: str) -> None:
        with pytest.raises(ValueError, match="nothing can be mounted"):
            resolved("/d:/{username}:ro", username=name)

    def test_of_two_at_one_place_the_later_one_counts(self) -> None:
        mounts = resolve_mounts(
            [*parse_mounts("/a:/x:ro, /b:/y:ro"), *parse_mounts("/c:/x:rw")], JANE
        )
        assert [(mount.host_path, mount.container_path) for mount in mounts] == [
            ("/c", "/x"),
            ("/b", "/y"),
        ]

    @given(st.text(max_size=12), st.text(max_size=12))
    def test_nothing_leaves_what_was_configured(self, user: str, home: str) -> None:
        text = "/srv/{tenant_id}/{username}/x:/m/{username}:rw, /work/{tasdir}:/w:rw"
        try:
            mounts = resolve_mounts(parse_mounts(text), {**JANE, "username": user, "tasdir": home})
        except ValueError:
            return
        for mount in mounts:
            assert posixpath.normpath(mount.host_path) == mount.host_path
            assert mount.host_path.startswith(("/srv/DEV/", "/work"))
            assert mount.container_path.startswith(("/m/", "/w"))
            assert mount.host_path.startswith(mount.base)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/a/b:/x:ro", "/a/b"),
        ("/a/b/{username}/c:/x:ro", "/a/b"),
        ("/a/b{username}:/x:ro", "/a"),
        ("/{username}:/x:ro", "/"),
        ("{tasdir}/c:/x:ro", "/"),
        ("/a/{tenant_id}/{username}:/x:ro", "/a"),
        ("/a/b:/{username}:ro", "/a/b"),
    ],
)
def test_the_base_is_what_no_name_is_part_of(text: str, expected: str) -> None:
    assert base(text) == expected


def test_what_clients_are_shown() -> None:
    mount = Mount(host_path="/a/b", container_path="/c", mode=MountMode.RO, base="/a")
    access = HostAccess(uid=1001, gid=100, tasdir="/a", mounts=(mount,))
    assert access.shown() == {
        "uid": "1001",
        "gid": "100",
        "tasdir": "/a",
        "mounts": [{"host_path": "/a/b", "container_path": "/c", "mode": "ro"}],
    }
    assert HostAccess().shown() == {"uid": None, "gid": None, "tasdir": None, "mounts": []}


def test_the_user_as_engines_are_told() -> None:
    assert HostAccess(uid=1001, gid=100).user == "1001:100"
    assert HostAccess(uid=0, gid=0).user == "0:0"
    assert HostAccess().user is None
