"""What may be an image reference."""

import pytest

from abaco.domain.image import check_image
from abaco.errors import InvalidInputError

DIGEST = "sha256:" + "0123456789abcdef" * 4


@pytest.mark.parametrize(
    "reference",
    [
        "busybox",
        "busybox:latest",
        "abacosamples/test",
        "abacosamples/py3_func:dev",
        "docker.io/library/busybox:1.36",
        "localhost:5000/team/tool:v1.0-rc.1",
        "Registry.Example.org/a/b/c",
        f"busybox@{DIGEST}",
        f"ghcr.io/org/name:tag@{DIGEST}",
        "a__b/c-d/e---f",
        DIGEST,
        "n" * 255,
        "name:" + "t" * 128,
    ],
)
def test_accepts(reference):
    assert check_image(reference) == reference


@pytest.mark.parametrize(
    "reference",
    [
        "",
        " ",
        "Busybox",
        "busybox ",
        "busy box",
        "busybox:",
        "busybox:a b",
        ":tag",
        "/busybox",
        "a//b",
        "a/b/",
        "../etc/passwd",
        "busybox@sha256:abc",
        "busybox@",
        "http://example.org/image",
        "-busybox",
        "bus\0ybox",
        "büsybox",
        "name\n",
        "name:" + "t" * 129,
        "n" * 256,
        "n" * 100_000,
        "host:port/name",
    ],
)
def test_refuses_and_names_the_field(reference):
    with pytest.raises(InvalidInputError) as caught:
        check_image(reference)
    assert caught.value.field == "image"
    assert len(caught.value.message) < 300
