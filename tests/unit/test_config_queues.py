"""Queues, their places and weights in abaco.conf."""

from collections.abc import Callable
from pathlib import Path

import pytest

from abaco.config import Configuration, load
from abaco.errors import ConfigError

Read = Callable[[str], Configuration]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """Read a configuration from text."""

    def read_text(text: str) -> Configuration:
        path = tmp_path / "abaco.conf"
        path.write_text(text)
        return load(path, environment={})

    return read_text


def fault(read: Read, text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        read(text)
    return str(caught.value)


ALL = "[web]\nall_queues: default, special, gpu\n"


def test_there_is_one_that_has_all_places(read):
    settings = read("[spawner]\nmax_workers_per_host: 7\n").settings
    assert settings.web.all_queues == settings.spawner.host_queues == ("default",)
    assert settings.queue_places == {"default": 7}


@pytest.mark.parametrize(
    ("keys", "places"),
    [
        ("", {"default": 20}),
        ("host_queues: special, default,special", {"special": 10, "default": 10}),
        ("host_queues: default,gpu,special", {"default": 7, "gpu": 7, "special": 6}),
        ("host_queues: default,gpu\nqueue_slots: gpu=2", {"default": 18, "gpu": 2}),
        (
            "host_queues: default,gpu,special\nqueue_slots: gpu=2, special = 3",
            {"default": 15, "gpu": 2, "special": 3},
        ),
        ("host_queues: default,gpu\nqueue_slots: gpu=2,default=3", {"default": 3, "gpu": 2}),
    ],
)
def test_places_are_shared_out(read, keys, places):
    settings = read(f"{ALL}[spawner]\n{keys}\n").settings
    assert settings.queue_places == places
    assert sum(places.values()) <= settings.spawner.max_workers_per_host


@pytest.mark.parametrize(
    ("keys", "key", "words"),
    [
        ("host_queues: default, tpu, npu", "host_queues", "tpu, npu: not in [web] all_queues"),
        ("host_queues: gpu", "host_queues", "must contain default"),
        ("queue_slots: gpu=1", "queue_slots", "gpu: not in host_queues"),
        (
            "host_queues: default,gpu,special\nmax_workers_per_host: 2",
            "max_workers_per_host",
            "2 places in all are not enough",
        ),
        (
            "host_queues: default,gpu\nqueue_slots: gpu=20",
            "max_workers_per_host",
            "20 places in all are not enough",
        ),
    ],
)
def test_what_does_not_fit_together(read, keys, key, words):
    text = fault(read, f"{ALL}[spawner]\n{keys}\n")
    assert f"[spawner] {key}: " in text
    assert words in text


def test_they_are_shown_as_they_are_written(read):
    found = read(f"{ALL}[spawner]\nhost_queues: default,gpu\nqueue_slots: gpu=2\n")
    shown = {(one.section, one.key): one.text for one in found.effective()}
    assert shown["web", "all_queues"] == "default, special, gpu"
    assert shown["spawner", "host_queues"] == "default, gpu"
    assert shown["spawner", "queue_slots"] == "gpu=2"


def test_a_tenants_weight(read):
    spawner = read("[spawner]\nweight: 2\nDEV_weight: 5\n").settings.spawner
    assert [spawner.for_tenant("weight", name) for name in ("dev", "OTHER")] == [5, 2]


@pytest.mark.parametrize(("text", "step"), [("1", "1"), ("One", "one"), ("FILL", "fill")])
def test_both_spellings_of_a_single_step(read, text, step):
    assert read(f"[runtime]\nscale_step: {text}\n").settings.runtime.scale_step == step
