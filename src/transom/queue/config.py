# SPDX-License-Identifier: Apache-2.0
"""The section `[queue]`: limits and defaults, named after Zaqar's `[transport]` options."""

from dataclasses import dataclass
from ipaddress import ip_network

from transom.errors import ConfigError
from transom.runtime.config import option
from transom.runtime.secrets import Secret


@dataclass(frozen=True, slots=True)
class QueueConfig:
    """Limits and defaults of the queue."""

    policy_file: str = option(
        "",
        "access rules that differ from the defaults (YAML; a relative path is below the data "
        "folder); empty: policy/queue.yaml if it is there",
    )
    max_queues_per_page: int = option(20, "most queues in one answer", least=1, most=1000)
    max_messages_per_page: int = option(
        20, "most messages in one answer, listed or asked for by ids", least=1, most=1000
    )
    max_messages_per_claim: int = option(
        20, "most messages that one claim or pop takes", least=1, most=1000
    )
    max_messages_per_post: int = option(
        1000, "most messages in one request to post", least=1, most=10_000
    )
    max_queue_metadata_bytes: int = option(
        65_536, "largest metadata document of a queue", unit="bytes", least=2
    )
    max_messages_post_bytes: int = option(
        262_144, "largest request to post messages", unit="bytes", least=2
    )
    max_message_ttl_s: int = option(1_209_600, "longest life of a message", unit="s", least=60)
    max_message_delay_s: int = option(900, "longest delay of a message", unit="s", least=0)
    max_claim_ttl_s: int = option(43_200, "longest life of a claim", unit="s", least=60)
    max_claim_grace_s: int = option(43_200, "longest grace of a claim", unit="s", least=60)
    default_message_ttl_s: int = option(3600, "life of a message without `ttl`", unit="s", least=60)
    default_message_delay_s: int = option(
        0, "delay of a message without `delay`", unit="s", least=0
    )
    default_claim_ttl_s: int = option(300, "life of a claim without `ttl`", unit="s", least=60)
    default_claim_grace_s: int = option(60, "grace of a claim without `grace`", unit="s", least=60)
    message_key_window_s: int = option(
        300,
        "how long a message's `key` keeps others with it out, where the queue does not say",
        unit="s",
        least=0,
        most=86_400,
    )
    signed_url_key: Secret = option(
        Secret(""),
        "key of pre-signed URLs, to share with a Zaqar ([signed_url] secret_key); empty: one that "
        "follows from the master key",
    )
    enable_checksum: bool = option(
        False, "show a checksum (MD5) of each message's body, as Zaqar does"
    )
    delete_needs_claim_ids: bool = option(
        False, "refuse to delete messages by `ids` without `claim_ids`"
    )
    sweep_interval_s: float = option(
        1.0, "pause between two sweeps of what has expired", unit="s", least=0.05, most=3600
    )
    sweep_batch: int = option(
        1000, "most rows that one transaction of the sweep removes", least=1, most=100_000
    )

    shards: int = option(
        1,
        "files over which new queues are spread, each with one writing process; not for a server",
        least=1,
        most=64,
    )
    shard_weight: int = option(
        100,
        "how many new queues each of our own stores takes beside pools, by weight; 0 is none",
        least=0,
        most=4_294_967_295,
    )
    max_pools_per_page: int = option(20, "most pools or flavors in one answer", least=1, most=1000)

    max_wait_s: int = option(60, "longest `wait` of a request for messages", unit="s", least=0)
    max_waiters: int = option(
        500,
        "most requests that wait for messages in one process; keep it well below "
        "`[http] requests_max`, of which they are a part",
        least=1,
    )
    project_max_waiters: int = option(200, "most of those of one project", least=1)
    writes_at_once: int = option(
        32,
        "most writes of one project that a store is handed at a time while other projects write, "
        "too; a post counts by its messages, and a project that writes alone has eight times that",
        least=1,
    )
    project_max_waiting_writes: int = option(
        1000,
        "most writes of one project that wait for their turn; one more is answered 429",
        least=1,
    )
    project_max_queues: int = option(
        10_000, "most queues of a project; 0 is without limit", least=0
    )
    project_max_messages: int = option(
        0, "most messages that a project may have stored; 0 is without limit", least=0
    )
    project_max_bytes: int = option(
        0,
        "most bytes of bodies that a project may have stored; 0 is without limit",
        unit="bytes",
        least=0,
    )
    project_max_subscriptions: int = option(
        10_000, "most subscriptions of a project; 0 is without limit", least=0
    )
    min_free_bytes: int = option(
        64 << 20,
        "space that is kept free for a file: posts, new queues and subscriptions are answered 507 "
        "while it has less (or less than a tenth of a small disk), so that workers and deletions "
        "go on; 0 keeps none",
        unit="bytes",
        least=0,
    )
    stats_interval_s: float = option(
        5.0, "pause between two looks at what `queue:stats` says", unit="s", least=0.2, most=3600
    )
    stats_queues: int = option(
        0,
        "most queues that have metrics of their own, the deepest; their names and their projects' "
        "ids are told to whoever reads `/metrics`, which needs no token",
        least=0,
        most=1000,
    )

    max_subscriptions_per_page: int = option(
        20, "most subscriptions in one answer", least=1, most=1000
    )
    max_subscriptions_per_queue: int = option(
        1000, "most subscriptions of a queue", least=1, most=100_000
    )
    default_subscription_ttl_s: int = option(
        3600, "life of a subscription without `ttl`", unit="s", least=60
    )
    require_confirmation: bool = option(
        False, "tell subscribers of nothing until they have confirmed that they want it"
    )
    confirmation_url: str = option(
        "", "the page that links in mails lead to, which sends the confirmation on to the API"
    )
    webhook_allow: tuple[str, ...] = option(
        (),
        "networks (10.1.0.0/16, ...) that webhooks may lead to though they are not public",
    )
    webhook_timeout_s: float = option(
        10.0, "longest that a subscriber may take to answer", unit="s", least=0.1, most=300
    )
    deliveries_at_once: int = option(
        200, "most notices that are on their way to subscribers at a time", least=2, most=10_000
    )
    smtp_url: str = option(
        "",
        "the server that mail is sent through: smtp://host:25, smtp+starttls://host:587 or "
        "smtps://host:465",
    )
    smtp_username: str = option("", "the user that mail is sent as, if the server asks for one")
    smtp_password: Secret = option(Secret(""), "its password")
    mail_command: str = option(
        "", "instead of a server: a program that takes a mail on its input, like `sendmail -t -oi`"
    )
    mail_from: str = option(
        "transom@localhost", "the sender of mails whose subscription names none (option `from`)"
    )

    def __post_init__(self) -> None:
        """Raises: ConfigError for a default that every request would be refused for."""
        for default, most in (
            ("default_message_ttl_s", "max_message_ttl_s"),
            ("default_message_delay_s", "max_message_delay_s"),
            ("default_claim_ttl_s", "max_claim_ttl_s"),
            ("default_claim_grace_s", "max_claim_grace_s"),
        ):
            value, bound = getattr(self, default), getattr(self, most)
            if value > bound:
                raise ConfigError(f"[queue] {default} is {value}, above {most}, which is {bound}")
        try:
            for network in self.webhook_allow:
                ip_network(network, strict=False)
        except ValueError as error:
            raise ConfigError(f"[queue] webhook_allow: {error}") from error
