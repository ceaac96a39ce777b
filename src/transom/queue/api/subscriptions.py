# SPDX-License-Identifier: Apache-2.0
"""`/v2/queues/{queue}/subscriptions`, one of them, and its confirmation."""

from datetime import UTC, datetime
from typing import Any

import msgspec
from msgspec import UNSET

from transom.queue.api import query
from transom.queue.api.parameters import IN_QUEUE, SUBSCRIPTION, Bounded
from transom.queue.api.refusals import served
from transom.queue.api.wire import subscriptions as wire
from transom.queue.api.wire.documents import Link, Refusal
from transom.queue.app.subscriptions import Subscriptions, Wish
from transom.queue.model import ClientId, Subscription
from transom.runtime.http.paging import next_link
from transom.runtime.http.route import Answer, Call, Parameter, Route

DETAILS = Parameter("details", "Whether the state of its deliveries is shown", bool)
TOKEN_HEADER = "x-auth-token"  # noqa: S105  the name of a header


class SubscriptionHandlers:
    """One method a route."""

    def __init__(self, subscriptions: Subscriptions, bounded: Bounded) -> None:
        self._subscriptions = subscriptions
        self._bounded = bounded

    def routes(self) -> list[Route]:
        every = "/v2/queues/{queue}/subscriptions"
        one = every + "/{subscription}"
        return [*self._of_queue(every), *self._of_one(one, (*IN_QUEUE, SUBSCRIPTION))]

    def _of_queue(self, every: str) -> list[Route]:
        return [
            Route(
                "GET",
                every,
                served(self.page),
                parameters=(*self._bounded.subscription_page(), DETAILS),
                answers={200: wire.SubscriptionPage},
                summary="List the subscriptions of a queue, in the order of their making",
            ),
            Route(
                "POST",
                every,
                served(self.create),
                repeatable=True,
                body=wire.NewSubscription,
                parameters=IN_QUEUE,
                answers={201: wire.Subscribed, 409: Refusal},
                summary="Have somebody told of what is posted to a queue",
            ),
        ]

    def _of_one(self, one: str, parameters: tuple[Parameter, ...]) -> list[Route]:
        return [
            Route(
                "GET",
                one,
                served(self.get),
                parameters=(*parameters, DETAILS),
                answers={200: wire.ShownSubscription},
                summary="Show a subscription",
            ),
            Route(
                "PATCH",
                one,
                served(self.update),
                body=wire.ChangedSubscription,
                parameters=parameters,
                answers={204: None, 409: Refusal},
                summary="Change a subscription; its life begins anew",
            ),
            Route(
                "DELETE",
                one,
                served(self.delete),
                parameters=parameters,
                answers={204: None},
                summary="End a subscription",
            ),
            Route(
                "PUT",
                one + "/confirm",
                served(self.confirm),
                body=wire.Confirmation,
                parameters=parameters,
                answers={204: None},
                summary="Confirm a subscription, or refuse it",
            ),
        ]

    async def page(self, call: Call[None], client: ClientId) -> Answer:
        given, name = call.query, call.path["queue"]
        details = query.flag(given, "details")
        found = await self._subscriptions.page(
            call.context, name, given.get("marker", ""), query.number(given, "limit")
        )
        shown = [_shown(one, details=details) for one in found]
        links = []
        if shown:
            onward = next_link(_collection(name), given, marker=shown[-1].id)
            links.append(Link("next", onward))
        return Answer(200, wire.SubscriptionPage(shown, links))

    async def create(self, call: Call[wire.NewSubscription], client: ClientId) -> Answer:
        name, body = call.path["queue"], call.body
        wish = Wish(body.subscriber, body.ttl, body.options)
        made = await self._subscriptions.create(
            call.context, name, wish, call.headers.get(TOKEN_HEADER, ""), call.repeat
        )
        answer = wire.Subscribed(str(made.id), made.secret or UNSET)
        return Answer(201, answer, {"location": _collection(name)})

    async def get(self, call: Call[None], client: ClientId) -> Answer:
        found = await self._subscriptions.get(
            call.context, call.path["queue"], call.path["subscription"]
        )
        return Answer(200, _shown(found, details=query.flag(call.query, "details")))

    async def update(self, call: Call[wire.ChangedSubscription], client: ClientId) -> Answer:
        name, body = call.path["queue"], call.body
        wish = Wish(body.subscriber, body.ttl, body.options)
        token = call.headers.get(TOKEN_HEADER, "")
        subscription = call.path["subscription"]
        await self._subscriptions.update(call.context, name, subscription, wish, token)
        return Answer(204, headers={"location": f"{_collection(name)}/{subscription}"})

    async def delete(self, call: Call[None], client: ClientId) -> Answer:
        await self._subscriptions.delete(
            call.context, call.path["queue"], call.path["subscription"]
        )
        return Answer(204)

    async def confirm(self, call: Call[wire.Confirmation], client: ClientId) -> Answer:
        name, subscription = call.path["queue"], call.path["subscription"]
        await self._subscriptions.confirm(
            call.context, name, subscription, confirmed=call.body.confirmed
        )
        return Answer(204, headers={"location": f"{_collection(name)}/{subscription}/confirm"})


def _collection(name: str) -> str:
    return f"/v2/queues/{name}/subscriptions"


def _shown(found: Subscription, *, details: bool) -> wire.ShownSubscription:
    options: dict[str, Any] = msgspec.json.decode(found.options)
    shown = wire.ShownSubscription(
        str(found.id),
        found.queue_name,
        found.subscriber,
        found.ttl_s,
        found.age_s,
        options,
        found.confirmed,
    )
    if details:
        state = found.state
        shown.created_at, shown.expires_at = _time(found.created_ms), _time(found.expires_ms)
        shown.state = state.word
        shown.delivered, shown.undeliverable = state.delivered, state.undeliverable
        shown.failed_attempts, shown.last_error = state.tries, state.last_error
        shown.next_attempt_at = _time(state.next_ms) if state.tries else None
    return shown


def _time(moment_ms: int) -> str:
    try:
        moment = datetime.fromtimestamp(moment_ms / 1000, UTC)
    except (ValueError, OverflowError):
        return "9999-12-31T23:59:59.999Z"
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
