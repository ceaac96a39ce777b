# SPDX-License-Identifier: Apache-2.0
"""What a subscriber is sent: Zaqar's documents, byte for byte the message's own body in them.

Invariant: a signature is hexadecimal HMAC-SHA256, under the subscription's secret, over
`timestamp.body`: the text of the header `Transom-Timestamp`, a dot, and the request's body.

Source: Zaqar API v2, "Notification"; Zaqar's confirmation of subscriptions.
"""

import hashlib
import hmac
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import msgspec

from transom.queue.logic.signing import SignedUrl
from transom.queue.logic.subscriptions import PLACEHOLDER, POST_DATA, POST_HEADERS
from transom.queue.model import Notice

NOTIFICATION = "Notification"
SUBSCRIBED, UNSUBSCRIBED = "SubscriptionConfirmation", "UnsubscribeConfirmation"
MESSAGE_HEADER, SUBSCRIPTION_HEADER = "Transom-Message-Id", "Transom-Subscription-Id"
TIMESTAMP_HEADER, SIGNATURE_HEADER = "Transom-Timestamp", "Transom-Signature"
SIGNATURE_PREFIX = "sha256="
JSON = "application/json"
LAST_MOMENT_MS = 253_402_300_799_000
"""The last second that a signed URL can name, 9999-12-31."""


class _Notification(msgspec.Struct):
    """In the order in which Zaqar's documents have them."""

    ttl: int
    body: msgspec.Raw
    queue_name: str
    Message_Type: str = NOTIFICATION


_encode = msgspec.json.Encoder().encode


def document(queue_name: str, notice: Notice) -> bytes:
    """The JSON that says a message."""
    return _encode(_Notification(notice.ttl_s, msgspec.Raw(notice.body), queue_name))


def confirmation(
    kind: str, queue_name: str, signed: SignedUrl, endpoint: str, websocket: str
) -> dict[str, Any]:
    """What a subscriber confirms by: PUT `SubscribeBody` to `WSGISubscribeURL`, with the headers
    `URL-*`, `X-Project-ID` and a `Client-ID`.

    `signed`: for the path of the confirmation; `endpoint`: of the queue's mount, without a slash at
    its end; `websocket`: of its WebSocket.
    """
    told = (
        f"Somebody subscribes this address to the queue {queue_name}. Confirm it, or do nothing."
        if kind == SUBSCRIBED
        else f"This address is told of the queue {queue_name} no more; confirm to be told again."
    )
    return {
        "WSGISubscribeURL": endpoint + signed.paths[0],
        "WebSocketSubscribeURL": websocket,
        "Message_Type": kind,
        "Message": told,
        "URL-Signature": signed.signature,
        "URL-Methods": signed.methods[0],
        "URL-Paths": signed.paths[0],
        "X-Project-ID": signed.project_id,
        "URL-Expires": signed.expires,
        "SubscribeBody": {"confirmed": True},
        "UnsubscribeBody": {"confirmed": False},
        "queue_name": queue_name,
    }


def confirmation_link(base: str, message: Mapping[str, Any]) -> str:
    """The link in a mail, to a page that confirms: Zaqar's query."""
    fields = {
        "Signature": message["URL-Signature"],
        "Methods": message["URL-Methods"],
        "Paths": message["URL-Paths"],
        "Project": message["X-Project-ID"],
        "Expires": message["URL-Expires"],
        "Url": message["WSGISubscribeURL"],
        "Queue": message["queue_name"],
    }
    query = "&".join(f"{name}={quote(str(value), safe='/:')}" for name, value in fields.items())
    return f"{base}?{query}"


def filled(options: Mapping[str, Any], content: bytes) -> bytes:
    """The body of a request: the document, or the subscription's template with it in its place."""
    template = options.get(POST_DATA)
    if template is None:
        return content
    return str(template).encode().replace(PLACEHOLDER.encode(), content)


def headers(options: Mapping[str, Any], more: Mapping[str, str]) -> dict[str, str]:
    """Ours, the subscription's own (which may replace the content type), and `more`."""
    own = {name.title(): value for name, value in (options.get(POST_HEADERS) or {}).items()}
    return {"Content-Type": JSON} | own | dict(more)


def signature(secret: bytes, timestamp: str, body: bytes) -> str:
    """The header's text."""
    digest = hmac.new(secret, timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()
    return SIGNATURE_PREFIX + digest
