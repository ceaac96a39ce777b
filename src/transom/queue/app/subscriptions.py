# SPDX-License-Identifier: Apache-2.0
"""What a caller may do with the subscriptions of a queue.

Invariant: a token by a trust is sent only where, and with what, the trust's own maker said: nobody
names a trust, and who changes a subscriber or options makes a new one with a token of its own.
"""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import msgspec

from transom.queue.app.access import Access
from transom.queue.logic import subscriptions as rules
from transom.queue.logic.addresses import networks
from transom.queue.model import (
    InvalidSubscription,
    MessageId,
    Subscription,
    SubscriptionNotFound,
)
from transom.queue.store import subscriptions
from transom.queue.store.subscriptions import SECRET_PURPOSE, Bounds, Terms
from transom.queue.store.verbs.subscriptions import (
    ChangeSubscription,
    Confirm,
    Subscribe,
    Unsubscribe,
)
from transom.runtime.auth.context import Context
from transom.runtime.idempotency import Repeat
from transom.runtime.sealing import Sealer

SECRET_BYTES = 24
TOKEN_BYTES = 8
OPTIONS_BYTES_MAX = 65_536


class Trusts(Protocol):
    """Where a caller trusts us to act for it; a Keystone."""

    async def trust(self, token: str, life_s: int) -> str:
        """The id of a new trust. Raises: InvalidSubscription, Unavailable."""


class NoTrusts:
    """The embedded identity's."""

    async def trust(self, token: str, life_s: int) -> str:
        raise InvalidSubscription(
            "A subscriber trust+... needs a trust, which the identity of this server does not "
            "offer; subscribe without trust+, with a token or password in post_headers."
        )


@dataclass(frozen=True, slots=True)
class Wish:
    """What a caller asks for; None is what it does not say."""

    subscriber: str | None = None
    ttl_s: int | None = None
    options: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Subscribed:
    """`secret`: one that was made for it, to be shown this once; "" if none was."""

    id: MessageId
    secret: str = ""


class Subscriptions:
    """The use cases. `sealer`: keeps secrets for signing; without it none can be kept."""

    def __init__(self, access: Access, sealer: Sealer | None, trusts: Trusts) -> None:
        self._access = access
        self._sealer = sealer
        self._trusts = trusts
        self._allowed = networks(access.config.webhook_allow)

    async def create(
        self, context: Context, name: str, wish: Wish, token: str, repeat: Repeat | None = None
    ) -> Subscribed:
        """`token`: the caller's, for a trust. One that was never confirmed is asked again.

        Raises: InvalidSubscription, SubscriberKnown, OutOfRange.
        """
        place = self._access.place(context, "subscription:create", name)
        if wish.subscriber is None:
            raise InvalidSubscription("The subscriber is missing.")
        ttl_s = self._ttl(wish.ttl_s)
        where = self._checked(wish.subscriber)
        options, signing = self._options(wish.options or {})
        _check_trust(options, None)
        secret = signing.secret
        if signing.wanted and not secret:
            secret = self._new_secret()
        if where.by_trust:
            options[rules.TRUST_ID] = await self._trusts.trust(token, ttl_s)
        terms = self._terms(wish.subscriber, options, secret, ttl_s)
        number = int.from_bytes(self._access.random(TOKEN_BYTES), "big", signed=True)
        verb = Subscribe(place, number, terms, self._bounds(place.project_id))
        made, new = await self._access.write_once(context, repeat, verb, tuple[MessageId, bool])
        self._access.on_change()
        replayed = repeat is not None and repeat.replayed
        shown = secret if signing.wanted and not signing.secret and new and not replayed else ""
        return Subscribed(made, shown)

    async def get(self, context: Context, name: str, subscription: str) -> Subscription:
        """Raises: SubscriptionNotFound."""
        place = self._access.place(context, "subscription:get", name)
        wanted = _wanted(subscription)
        return await self._access.read(
            place, lambda tx, now_ms: subscriptions.get(tx, now_ms, place, wanted)
        )

    async def page(
        self, context: Context, name: str, marker: str, limit: int | None
    ) -> Sequence[Subscription]:
        """Those made after the marker's, in the order of their making."""
        place = self._access.place(context, "subscription:get_all", name)
        limit = self._access.page_size(limit, self._access.config.max_subscriptions_per_page)
        after = MessageId.parse(marker) if marker else None
        number = 0 if after is None else after.sequence
        return await self._access.read(
            place, lambda tx, now_ms: subscriptions.page(tx, now_ms, place, number, limit)
        )

    async def update(
        self, context: Context, name: str, subscription: str, wish: Wish, token: str
    ) -> None:
        """Its life begins anew. Raises: SubscriptionNotFound, SubscriberKnown, Conflict."""
        place = self._access.place(context, "subscription:update", name)
        wanted = _wanted(subscription)
        if wish == Wish():
            raise InvalidSubscription("Say a subscriber, a ttl or options: nothing is to change.")
        ttl_s = None if wish.ttl_s is None else self._ttl(wish.ttl_s)
        before = await self._access.read(
            place, lambda tx, now_ms: subscriptions.get(tx, now_ms, place, wanted)
        )
        ttl_s = before.ttl_s if ttl_s is None else ttl_s
        subscriber = before.subscriber if wish.subscriber is None else wish.subscriber
        where = self._checked(subscriber)
        stored: dict[str, Any] = msgspec.json.decode(before.options)
        options, signing = self._options(stored if wish.options is None else wish.options)
        keeps = signing.wanted and not signing.secret
        if keeps and rules.SIGNATURE not in stored:
            raise InvalidSubscription(
                "The subscription has no secret yet: give one as `secret` of _signature."
            )
        known = stored.get(rules.TRUST_ID)
        _check_trust(options, known)
        options.pop(rules.TRUST_ID, None)
        if where.by_trust:
            if wish.subscriber is not None or wish.options is not None or known is None:
                known = await self._trusts.trust(token, ttl_s)
            options[rules.TRUST_ID] = known
        terms = self._terms(subscriber, options, signing.secret, ttl_s)
        terms = replace(terms, keeps_secret=keeps)
        await self._access.write(ChangeSubscription(place, before, terms))
        self._access.on_change()

    async def confirm(
        self, context: Context, name: str, subscription: str, *, confirmed: bool
    ) -> None:
        """Raises: SubscriptionNotFound."""
        place = self._access.place(context, "subscription:confirm", name)
        needed = self._access.config.require_confirmation
        await self._access.write(Confirm(place, _wanted(subscription), confirmed, needed))
        self._access.on_change()

    async def delete(self, context: Context, name: str, subscription: str) -> None:
        """Nothing to delete is no error."""
        place = self._access.place(context, "subscription:delete", name)
        wanted = MessageId.parse(subscription)
        if wanted is not None and await self._access.write(Unsubscribe(place, wanted)):
            self._access.on_change()

    def _ttl(self, ttl_s: int | None) -> int:
        if ttl_s is None:
            return self._access.config.default_subscription_ttl_s
        return rules.check_ttl(ttl_s)

    def _checked(self, subscriber: str) -> rules.Destination:
        where = rules.destination(subscriber)
        rules.check_reachable(where, self._allowed)
        config = self._access.config
        if where.is_mail and config.require_confirmation and not config.confirmation_url:
            raise InvalidSubscription(
                "A mail subscription has to be confirmed by a link, and the operator has set no "
                "[queue] confirmation_url."
            )
        return where

    def _options(self, given: Mapping[str, Any]) -> tuple[dict[str, Any], rules.Signing]:
        rules.check_options(given)
        options, signing = rules.split_signing(given)
        if signing.wanted and self._sealer is None:
            raise InvalidSubscription("This server has no master key, and can keep no secret.")
        if len(msgspec.json.encode(options)) > OPTIONS_BYTES_MAX:
            raise InvalidSubscription(f"The options have more than {OPTIONS_BYTES_MAX} bytes.")
        return options, signing

    def _terms(self, subscriber: str, options: Mapping[str, Any], secret: str, ttl_s: int) -> Terms:
        sealed = None
        if secret and self._sealer is not None:
            sealed = self._sealer.seal(secret.encode(), SECRET_PURPOSE)
        text = msgspec.json.encode(options).decode()
        return Terms(subscriber, text, sealed, ttl_s, self._access.config.require_confirmation)

    def _new_secret(self) -> str:
        return base64.urlsafe_b64encode(self._access.random(SECRET_BYTES)).decode()

    def _bounds(self, project_id: str) -> Bounds:
        of_queue = self._access.config.max_subscriptions_per_queue
        return Bounds(of_queue, self._access.quotas.of(project_id).subscriptions)


def _check_trust(options: Mapping[str, Any], known: str | None) -> None:
    """Raises: InvalidSubscription for a trust that this subscription does not have."""
    if options.get(rules.TRUST_ID, known) != known:
        raise InvalidSubscription(
            "The option trust_id is set by the server, to a trust of whoever subscribes; leave it "
            "out, and subscribe with trust+http or trust+https."
        )


def _wanted(text: str) -> MessageId:
    wanted = MessageId.parse(text)
    if wanted is None:
        raise SubscriptionNotFound("There is no such subscription, or its life has ended.")
    return wanted
