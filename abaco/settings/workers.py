"""Where and how many workers run, and how executions run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field, field_validator

from abaco.domain.actor import DEFAULT_QUEUE
from abaco.domain.host_access import HostUser
from abaco.domain.webhook import WebhookPolicy
from abaco.settings.hosts import (
    LOOKUPS,
    FixedUser,
    HomePath,
    HostId,
    MountsText,
    Provider,
)
from abaco.settings.queues import COUNTS, NAMES, QueueCounts, QueueNames
from abaco.settings.section import Section, fold_tenant
from abaco.settings.sizes import MemoryText, NanoCpus


class SpawnerSettings(Section):
    """Where and how many workers run."""

    tenant_forms: ClassVar[Mapping[str, str]] = {"weight": "weight"}

    host_id: str = Field("0", description="Identity of this host, shown on workers.")
    host_ip: str = Field("127.0.0.1", description="Address of this host, shown on workers.")
    max_workers_per_host: int = Field(20, ge=1, description="Workers that may live at once.")
    max_workers_per_actor: int = Field(
        20, ge=1, description="Pool limit of an actor without max_workers of its own."
    )
    host_queues: QueueNames = Field(
        (DEFAULT_QUEUE,),
        description="Queues this host has workers for, out of [web] all_queues; default is one of"
        " them. Messages for actors of other queues wait.",
        json_schema_extra={"allowed": NAMES},
    )
    queue_slots: QueueCounts = Field(
        {},
        description="Workers of single queues that may live at once, as in special=4; the other"
        " queues share what is left of max_workers_per_host in equal parts.",
        json_schema_extra={"allowed": COUNTS},
    )
    spare_slots: int = Field(
        1,
        ge=0,
        description="Workers of each queue that the messages of one actor alone never take up,"
        " but never more than a quarter: a newcomer finds a place while runs are long.",
    )
    weight: int = Field(
        1,
        ge=1,
        le=1000,
        description="How many times the places of others a tenant gets when the host is full."
        " Tenant form: {tenant}_weight.",
    )


class WorkersSettings(Section):
    """Workers and the containers they run."""

    tenant_forms: ClassVar[Mapping[str, str]] = {
        name: name
        for name in (
            "generate_clients",
            "read_only_rootfs",
            "global_mounts",
            "use_tas_uid",
            "actor_uid",
            "actor_gid",
            "actor_homedir",
        )
    }

    init_count: int = Field(
        1, ge=0, description="Above 0: one worker is started when an actor is registered."
    )
    autoscaling: bool = Field(
        True,
        description="Start more workers for stateless actors when messages wait. When off, a"
        " waiting message still starts the first worker.",
    )
    max_run_time: int = Field(
        -1,
        ge=-1,
        description="Seconds after which a run is stopped; -1 for no limit. An actor's own limit is"
        " never above it.",
    )
    mem_limit: MemoryText = Field(
        "-1",
        description="Memory per container in engine syntax (512m, 3g), 6m or more; -1 for no limit."
        " There is no swap on top.",
    )
    max_cpus: NanoCpus = Field(
        -1,
        description="CPU per container in nano-CPUs (1000000000 = one); -1 for no limit.",
    )
    sync_max_idle_time: int = Field(
        600,
        ge=0,
        description="Idle seconds for which the last worker of a scaled actor with the hint sync"
        " is kept.",
    )
    worker_ttl: int = Field(
        -1,
        ge=-1,
        description="Idle seconds after which a stateful actor's worker, or the last worker of a"
        " pool that does not scale, is retired; -1 never.",
    )
    read_only_rootfs: bool = Field(
        False,
        description="Give all containers a root file system that cannot be written, with a /tmp in"
        " memory ([engine] tmp_size); when off, those of actors that ask for it. Tenant form:"
        " {tenant}_read_only_rootfs.",
    )
    leave_containers: bool = Field(
        False, description="Keep the stopped containers of executions (for debugging)."
    )
    generate_clients: bool = Field(
        True,
        description="Give executions of actors whose token attribute is true an access token that"
        " represents the actor's owner; see [runtime] token_provider. Tenant form:"
        " {tenant}_generate_clients.",
    )
    allow_privileged: bool = Field(
        False,
        description="Let privileged users register privileged actors. Such an actor is root on the"
        " host.",
    )
    global_mounts: MountsText = Field(
        "",
        description="Parts of the host that every actor's containers are given. {username} is the"
        " owner, {tasdir} the owner's home directory; an item that needs a home nobody knows is"
        " left out. Tenant form, instead of these: {tenant}_global_mounts.",
    )
    privileged_mounts: MountsText = Field(
        "", description="More of them, for privileged actors. They win at the same container path."
    )
    mount_missing: Literal["error", "skip"] = Field(
        "error",
        description="What becomes of a mount the host does not have. error: the container is not"
        " started; skip: it is started without. Nothing is ever made on the host.",
    )
    identity_provider: Provider = Field(
        "auto",
        description="Who knows the user that containers run as. none: always the image's own user;"
        " static: actor_uid and actor_gid; system: the owner's name in this host's user database;"
        " http: the accounting service under [identity]; auto: http for tenants with use_tas_uid,"
        " static for the others.",
    )
    identity_failure: Literal["error", "image_user"] = Field(
        "error",
        description="What becomes of an actor whose owner cannot be looked up. error: it is"
        " refused; image_user: its containers run as the image's own user, who may be root.",
    )
    use_tas_uid: bool | None = Field(
        None,
        description="Whether owners are looked up; with the providers system and http they are"
        " when nothing is said. Where they are not, actor_uid is used. Tenant form:"
        " {tenant}_use_tas_uid.",
    )
    actor_uid: HostId | None = Field(
        None,
        description="Number of the user all containers run as whose owner is not looked up. Tenant"
        " form: {tenant}_actor_uid.",
    )
    actor_gid: HostId | None = Field(
        None, description="Its group. Tenant form: {tenant}_actor_gid."
    )
    actor_homedir: HomePath | None = Field(
        None,
        description="Its home directory, for {tasdir} of mounts. Tenant form:"
        " {tenant}_actor_homedir.",
    )
    least_uid: int = Field(
        1,
        ge=0,
        description="Lowest number of a user that containers may be run as; 0 lets them be root,"
        " 1000 keeps system accounts out.",
    )

    def fixed_users(self) -> Iterator[FixedUser]:
        """Yield the configured users: the one for everybody, then those of single tenants."""
        yield FixedUser(None, self.actor_uid, self.actor_gid, self.actor_homedir)
        for tenant in self.named_tenants:
            names = ("actor_uid", "actor_gid", "actor_homedir")
            yield FixedUser(tenant, *(self.own_of(name, tenant) for name in names))

    def fixed_user(self, tenant: str) -> HostUser | None:
        """Return the user configured for the tenant, or for everybody; None when there is none."""
        if self.identity_provider == "none":
            return None
        everybody, *own = self.fixed_users()
        folded = fold_tenant(tenant)
        user = next((user for user in own if user.tenant == folded and user.is_set), everybody)
        return user.host_user

    def is_looked_up(self, tenant: str) -> bool:
        """Tell whether owners of the tenant are looked up."""
        is_wanted = self.for_tenant("use_tas_uid", tenant)
        if is_wanted is None:
            is_wanted = self.identity_provider != "auto"
        return bool(is_wanted) and self.identity_provider in LOOKUPS

    @property
    def needs_accounting(self) -> bool:
        """Whether the accounting service is asked for anybody."""
        if self.identity_provider == "auto":
            return any(self.every_value("use_tas_uid"))
        return self.identity_provider == "http"


class RuntimeSettings(Section):
    """How executions run."""

    tenant_forms: ClassVar[Mapping[str, str]] = {
        "max_mailbox": "max_mailbox",
        "max_tenant_mailbox": "max_tenant_mailbox",
    }

    max_mailbox: int = Field(
        -1,
        ge=-1,
        description="Messages that may wait for one actor, above it 429; -1 for no limit. Tenant"
        " form: {tenant}_max_mailbox.",
    )
    max_tenant_mailbox: int = Field(
        -1,
        ge=-1,
        description="Messages that may wait for all actors of a tenant, above it 429; -1 for no"
        " limit. Tenant form: {tenant}_max_tenant_mailbox.",
    )
    idempotency_ttl: int = Field(
        86_400, ge=1, description="Seconds an Idempotency-Key is remembered."
    )
    results_ttl: int = Field(3600, ge=1, description="Seconds an unread result is kept.")
    max_result_size: int = Field(
        131_072,
        ge=1,
        le=16_777_216,
        description="Bytes of the largest result a container may send through its socket; larger"
        " ones are refused whole.",
    )
    large_results: bool = Field(
        False,
        description="Give containers a directory /_abaco_results.d; each file in it becomes a"
        " result when the container has ended, up to 1000 of them. Until then nothing keeps a"
        " container from filling the disk they are on.",
    )
    large_results_dir: Path | None = Field(
        None,
        description="Where these directories are: a directory that is there, on a file system of"
        " its own, so that nothing else fails when that is full. Without it <data_dir>/ipc.",
    )
    max_large_result: int = Field(
        16_777_216,
        ge=1,
        le=268_435_456,
        description="Bytes of the largest such file; larger ones are refused whole.",
    )
    max_large_results: int = Field(
        268_435_456,
        ge=1,
        description="Bytes of all such files of one execution; those that would go beyond are"
        " refused whole.",
    )
    binary_transport: Literal["file", "fifo"] = Field(
        "file",
        description="What a container finds at /_abaco_binary_data. file: a file to read, as often"
        " as it likes; fifo: a pipe, for images that insist on one, up to the size a pipe can have"
        " on this host (/proc/sys/fs/pipe-max-size).",
    )
    inject_nonce: bool = Field(
        False,
        description="Pass x-nonce, when a message was sent with it, and _abaco_synchronous, when"
        " somebody waits, on to the container as variables. The nonce is then in the store until"
        " the message is done, and whatever runs in the container may use it.",
    )
    json_variables: bool = Field(
        False,
        description="Give containers _abaco_msg_json, _abaco_actor_state_json and"
        " _actor_configs_json: what MSG, _abaco_actor_state and _actor_configs say, as JSON. One"
        " that does not fit is left out.",
    )
    oversize_message: Literal["reject", "file"] = Field(
        "reject",
        description="What becomes of a text or JSON message that no variable can hold (128 KiB)."
        " reject: 400; file: MSG is empty, and _abaco_msg_file names a file with the text.",
    )
    max_start_failures: int = Field(
        5,
        ge=0,
        description="Failed starts in a row that are retried; one more and the execution and the"
        " actor go to ERROR.",
    )
    start_backoff: float = Field(
        5.0, ge=0, description="Seconds between two tries to start a container."
    )
    max_attempts: int = Field(
        3, ge=1, description="Runs of one message when server or engine die in mid-run."
    )
    idle_grace: float = Field(
        5.0, ge=0, description="Idle seconds before a scaled worker is retired."
    )
    scale_step: Literal["fill", "one", "1"] = Field(
        "fill",
        description="Workers asked for at once when messages wait: fill, one for each message; one"
        " (or 1), a single worker each time something happens.",
    )
    pull_policy: Literal["always", "if_not_present", "never", "max_age"] = Field(
        "if_not_present",
        description="When the first worker of an actor's revision asks the registry for an image"
        " that is on the host; the later ones run what it found. max_age: when it was pulled"
        " pull_max_age seconds ago. An update with force asks, too, unless this is never.",
    )
    pull_max_age: int = Field(
        300, ge=0, description="Seconds for which a pull counts with pull_policy max_age."
    )
    image_pull_timeout: int = Field(1800, ge=1, description="Seconds a pull may take.")
    max_parallel_pulls: int = Field(2, ge=1, description="Pulls at the same time.")
    emit_started: bool = Field(
        False,
        description="Tell links and webhooks when an execution starts, too. Also read as [web]"
        " emit_execution_started.",
    )
    emit_error_completions: bool = Field(
        True, description="Tell links and webhooks of executions that end in ERROR, too."
    )
    webhook_attempts: int = Field(
        5, ge=1, description="Requests made for one event before its webhook is given up."
    )
    webhook_backoff: float = Field(
        2.0,
        gt=0,
        description="Seconds, more or less, before the second request; they double each time.",
    )
    webhook_timeout: float = Field(
        10.0, gt=0, description="Seconds a webhook's receiver has to answer."
    )
    webhook_allow: str = Field(
        "",
        description="Receivers that need not have a public address: host names, addresses and"
        " networks (10.1.0.0/16) with commas between. Messages inboxes of this server need not"
        " be named.",
        json_schema_extra={"allowed": "names, addresses and networks, or nothing"},
    )
    update_running: Literal["wait", "halt"] = Field(
        "wait",
        description="What becomes of runs of an actor whose image is updated. wait: they end by"
        " themselves; halt: they are stopped.",
    )
    stats_mode: Literal["exact", "legacy"] = Field(
        "exact",
        description="What cpu and io of an execution mean. exact: nanoseconds of CPU and bytes"
        " received in all; legacy: the sums of the older Abaco, of what both were at each second,"
        " for reports that compare with its numbers.",
    )
    stop_grace: int = Field(
        10, ge=0, description="Seconds between SIGTERM and SIGKILL when an execution is stopped."
    )
    shutdown_policy: Literal["detach", "drain"] = Field(
        "detach",
        description="On stop: detach leaves containers running to be adopted at the next start;"
        " drain waits for them first.",
    )
    shutdown_grace: int = Field(
        30, ge=0, description="Seconds drain waits; what still runs then is left as in detach."
    )
    cron_misfire: Literal["one", "all", "skip"] = Field(
        "one",
        description="What becomes of slots of a cron schedule that passed while the server was"
        " away. one: a single execution for all of them; all: one for each, in order; skip: none.",
    )
    cron_overlap: Literal["queue", "skip"] = Field(
        "queue",
        description="What becomes of a slot whose predecessor's execution has not ended. queue: its"
        " message waits behind it; skip: it is passed over.",
    )

    token_provider: Literal["local_jwt", "oauth2", "oauth_clients", "static", "none"] = Field(
        "local_jwt",
        description="Where access tokens of executions come from. local_jwt: made here for each"
        " execution, dead when it ends; oauth2, oauth_clients: from an authorization server, for a"
        " client registered for each worker, see [oauth]; static: a tenant's own from token_file;"
        " none: no tokens.",
    )
    token_file: Path | None = Field(
        None,
        description="File of provider static, for its owner alone: a line for each tenant, its"
        " name, a colon and its token.",
    )
    token_scope: Literal["owner", "actor"] = Field(
        "owner",
        description="What a token of local_jwt may be used for. owner: what the actor's owner may"
        " do, without roles beyond the basic one; actor: of that, what concerns the actor itself.",
    )
    token_ttl: int = Field(
        86_400,
        ge=60,
        le=29 * 86_400,
        description="Seconds a token of local_jwt is good for where runs have no time limit; the"
        " end of its execution ends it in any case.",
    )
    token_max_ttl: int = Field(
        86_400,
        ge=60,
        le=29 * 86_400,
        description="Seconds a token of local_jwt is good for at most, however long a run may be.",
    )
    revoke_on_finish: bool = Field(
        True,
        description="A token of local_jwt ends with its execution; when false it goes on until it"
        " expires.",
    )
    token_failure: Literal["wait", "run", "error"] = Field(
        "wait",
        description="What becomes of a message when no token can be had for its execution. wait:"
        " it waits until there is one; run: it runs with an empty one; error: it ends in ERROR.",
    )
    token_max_wait: int = Field(
        -1,
        ge=-1,
        description="Seconds a message waits for a token before it ends in ERROR; -1 for no limit.",
    )

    actor_ca_bundle: Path | None = Field(
        None,
        description="PEM file with the certificates that programs in containers trust instead of"
        " their image's own, where the engine sees the files of this host: it is at"
        " /_abaco_ca_bundle.pem, REQUESTS_CA_BUNDLE and SSL_CERT_FILE name it. An actor's default"
        " environment and a message's query may name others.",
    )

    @field_validator("webhook_allow")
    @classmethod
    def _check_webhook_allow(cls, text: str) -> str:
        WebhookPolicy.read(text, ())
        return text
