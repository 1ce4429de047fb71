"""Base URLs that programs with the published SDK can call, and those they cannot."""

import pytest

from abaco.domain.api_server import sdk_faults

HTTP = "it is not https"
PORT = "it names a port"
CAPITALS = "its host has capital letters"
PATH = "it has a path"


@pytest.mark.parametrize(
    ("url", "faults"),
    [
        ("https://abaco.example.org", []),
        ("https://abaco.example.org/", []),
        ("https://192.0.2.7", []),
        ("https://[2001:db8::1]", []),
        ("http://abaco.example.org", [HTTP]),
        ("https://abaco.example.org:443", [PORT]),
        ("https://abaco.example.org:8443", [PORT]),
        ("https://[2001:db8::1]:443", [PORT]),
        ("https://Abaco.example.org", [CAPITALS]),
        ("https://abaco.example.org/v3", [PATH]),
        ("http://127.0.0.1:8000", [HTTP, PORT]),
        ("http://Host:1/x", [HTTP, PORT, CAPITALS, PATH]),
    ],
)
def test_what_is_wrong_with_it(url, faults):
    assert sdk_faults(url) == faults
