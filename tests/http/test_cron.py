"""Cron schedules over HTTP, in both spellings."""

import json
from datetime import UTC, datetime, timedelta

import pytest

FUTURE = "2078-09-6 20 + 3 months"


def cron_of(site, actor):
    """The three attributes; camel leaves out what has no value."""
    return tuple(
        actor.get(site.name(name)) for name in ("cron_schedule", "cron_on", "cron_next_ex")
    )


def put(site, actor_id, **attributes):
    body = site.fields(image="abacosamples/test", **attributes)
    return site.put(f"/actors/{actor_id}", json_body=body)


def show(site, actor_id):
    return cron_of(site, site.get(f"/actors/{actor_id}").result)


def tomorrow_at_23() -> datetime:
    return (datetime.now(UTC) + timedelta(days=1)).replace(hour=23)


def test_as_the_older_suite_has_it(site):
    start = tomorrow_at_23()
    schedule = f"{start:%Y-%m-%d %H} + 6 hours"
    body = site.fields(image="busybox", name="cron", cron_schedule=schedule)
    actor = site.post("/actors", json_body=body).result
    expected = f"{start.year}-{start.month}-{start.day} 23"
    assert cron_of(site, actor) == (schedule, True, expected)
    past = site.post(
        "/actors", json_body=site.fields(image="busybox", cron_schedule="2019-09-6 20 + 3 monthss")
    )
    assert past.status == 400
    assert site.name("cron_schedule") in past.error
    body = site.fields(image="busybox", cron_schedule=FUTURE, stateless=False)
    actor = site.put(f"/actors/{actor['id']}", json_body=body).result
    assert cron_of(site, actor) == (FUTURE, True, "2078-9-6 20")
    body = site.fields(image="busybox", cron_on=False, stateless=False)
    actor = site.put(f"/actors/{actor['id']}", json_body=body).result
    assert cron_of(site, actor) == (FUTURE, False, "2078-9-6 20")
    assert actor["image"] == "busybox"


@pytest.mark.parametrize("spelled", ["cron_schedule", "cronSchedule"])
def test_either_spelling_and_a_form(site, spelled):
    reply = site.post("/actors", form={"image": "busybox", spelled: FUTURE})
    assert cron_of(site, reply.result) == (FUTURE, True, "2078-9-6 20")


def test_without_a_schedule_nothing_is_on(site):
    actor_id = site.register()
    nothing = (None, False, None)
    assert show(site, actor_id) == nothing
    assert cron_of(site, put(site, actor_id, cron_on=False).result) == nothing
    assert cron_of(site, put(site, actor_id, cron_schedule=None).result) == nothing


def test_off_from_the_start(site):
    actor_id = site.register(cron_schedule=FUTURE, cron_on=False)
    assert show(site, actor_id) == (FUTURE, False, "2078-9-6 20")
    put(site, actor_id, cron_on=True)
    assert show(site, actor_id) == (FUTURE, True, "2078-9-6 20")


@pytest.mark.parametrize("is_on", [True, False])
def test_a_put_that_does_not_mention_it_leaves_it_alone(site, is_on):
    actor_id = site.register(cron_schedule=FUTURE, cron_on=is_on)
    put(site, actor_id, description="new")
    assert show(site, actor_id) == (FUTURE, is_on, "2078-9-6 20")


def test_another_schedule_switches_on(site):
    actor_id = site.register(cron_schedule=FUTURE, cron_on=False)
    put(site, actor_id, cron_schedule="2079-1-1 0 + 1 day")
    assert show(site, actor_id) == ("2079-1-1 0 + 1 day", True, "2079-1-1 0")
    put(site, actor_id, cron_schedule="2080-1-1 0 + 1 day", cron_on=False)
    assert show(site, actor_id) == ("2080-1-1 0 + 1 day", False, "2080-1-1 0")


@pytest.mark.parametrize("spelled", ["cron_schedule", "cronSchedule"])
@pytest.mark.parametrize("empty", [None, ""])
def test_null_and_empty_clear(site, empty, spelled):
    actor_id = site.register(cron_schedule=FUTURE)
    body = {"image": "busybox", spelled: empty}
    assert cron_of(site, site.put(f"/actors/{actor_id}", json_body=body).result) == (
        None,
        False,
        None,
    )


def test_an_empty_form_field_clears(site):
    actor_id = site.register(cron_schedule=FUTURE)
    site.put(f"/actors/{actor_id}", form={"image": "busybox", site.name("cron_schedule"): ""})
    assert show(site, actor_id) == (None, False, None)


def test_what_was_read_can_be_sent_back(site):
    """Though its start is past by then, and ``now`` was another hour."""
    actor_id = site.register(cron_schedule="now + 6 hours", cron_on=False)
    read = site.get(f"/actors/{actor_id}").result
    back = {name: value for name, value in read.items() if value is not None}
    assert cron_of(site, site.put(f"/actors/{actor_id}", json_body=back).result) == cron_of(
        site, read
    )


def test_five_fields_in_a_zone_show_minutes(site):
    schedule = "CRON_TZ=Asia/Kolkata 5 4 29 2 *"
    actor_id = site.register(cron_schedule=schedule)
    shown, is_on, following = show(site, actor_id)
    assert (shown, is_on) == (schedule, True)
    assert following.endswith("-2-28 22:35")


def test_now_is_this_hour(site):
    before = datetime.now(UTC)
    _, _, following = show(site, site.register(cron_schedule="now + 1 week"))
    hours = {f"{t.year}-{t.month}-{t.day} {t.hour}" for t in (before, datetime.now(UTC))}
    assert following in hours


def test_the_list_shows_it_too(site):
    site.register(cron_schedule=FUTURE)
    (actor,) = site.get("/actors").result
    assert cron_of(site, actor) == (FUTURE, True, "2078-9-6 20")


def test_the_next_run_is_the_servers(site):
    actor_id = site.register(cron_schedule=FUTURE, cron_next_ex="2001-1-1 0")
    assert show(site, actor_id)[2] == "2078-9-6 20"


@pytest.mark.parametrize(
    ("schedule", "said"),
    [
        ("never", "now + 6 hours"),
        ("2078-09-6 20 + 3 eons", "unit"),
        ("2078-09-6 20 + 0 days", "number"),
        ("2078-09-6 20 + -1 days", "number"),
        ("2078-02-30 20 + 1 days", "no date"),
        ("2019-09-6 20 + 1 days", "past"),
        ("CRON_TZ=Mars/Base 0 0 * * *", "time zone"),
        ("0 0 31 2 *", "never comes"),
        ("61 0 * * *", "cron"),
    ],
)
def test_a_refusal_names_the_field_and_says_why(site, schedule, said):
    actor_id = site.register(cron_schedule=FUTURE)
    for reply in (
        site.post("/actors", json_body=site.fields(image="busybox", cron_schedule=schedule)),
        put(site, actor_id, cron_schedule=schedule),
    ):
        assert reply.status == 400
        assert site.name("cron_schedule") in reply.error
        assert said in reply.error
    assert show(site, actor_id) == (FUTURE, True, "2078-9-6 20")


@pytest.mark.parametrize("body", [{"cron_on": True}, {"cron_on": True, "cron_schedule": ""}])
def test_there_is_nothing_to_switch_on(site, body):
    actor_id = site.register()
    for reply in (
        site.post("/actors", json_body=site.fields(image="busybox", **body)),
        put(site, actor_id, **body),
    ):
        assert reply.status == 400
        assert site.name("cron_on") in reply.error


def test_a_body_that_is_no_object_is_still_refused(site):
    actor_id = site.register()
    reply = site.put(f"/actors/{actor_id}", body=json.dumps([1]).encode(),
                     headers={"Content-Type": "application/json"})  # fmt: skip
    assert reply.status == 400
