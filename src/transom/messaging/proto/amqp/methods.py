# SPDX-License-Identifier: Apache-2.0
"""The methods of AMQP 0-9-1 that are spoken: one Struct each, coded by the kinds of its fields.

Invariants:
1. `decode(encode(method)) == method`, but for the types that `wire` widens in tables.
2. Whatever the bytes, decoding gives a method, or raises Malformed or UnknownMethod.

Fields stand in the order of the wire. `ticket` and other reserved fields keep their default.
Left out: transactions, access, connection.update-secret, basic.recover-async.
Source: the AMQP 0-9-1 specification with its errata and RabbitMQ's extensions.
"""

from typing import Annotated

import msgspec

from transom.messaging.proto.amqp.wire import Kind, Table

Bit = Annotated[bool, Kind.BIT]
Octet = Annotated[int, Kind.OCTET]
Short = Annotated[int, Kind.SHORT]
Long = Annotated[int, Kind.LONG]
LongLong = Annotated[int, Kind.LONG_LONG]
ShortText = Annotated[str, Kind.SHORT_TEXT]
LongBytes = Annotated[bytes, Kind.LONG_BYTES]
Fields = Annotated[Table, Kind.TABLE]


class Method(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Any of them."""


class ConnectionStart(Method, frozen=True, kw_only=True, gc=False):
    version_major: Octet = 0
    version_minor: Octet = 9
    server_properties: Fields = {}
    mechanisms: LongBytes = b"PLAIN"
    locales: LongBytes = b"en_US"


class ConnectionStartOk(Method, frozen=True, kw_only=True, gc=False):
    client_properties: Fields = {}
    mechanism: ShortText = "PLAIN"
    response: LongBytes = b""
    locale: ShortText = "en_US"


class ConnectionSecure(Method, frozen=True, kw_only=True, gc=False):
    challenge: LongBytes = b""


class ConnectionSecureOk(Method, frozen=True, kw_only=True, gc=False):
    response: LongBytes = b""


class ConnectionTune(Method, frozen=True, kw_only=True, gc=False):
    channel_max: Short = 0
    frame_max: Long = 0
    heartbeat_s: Short = 0


class ConnectionTuneOk(Method, frozen=True, kw_only=True, gc=False):
    channel_max: Short = 0
    frame_max: Long = 0
    heartbeat_s: Short = 0


class ConnectionOpen(Method, frozen=True, kw_only=True, gc=False):
    virtual_host: ShortText = "/"
    capabilities: ShortText = ""
    insist: Bit = False


class ConnectionOpenOk(Method, frozen=True, kw_only=True, gc=False):
    known_hosts: ShortText = ""


class ConnectionClose(Method, frozen=True, kw_only=True, gc=False):
    """`class_id`, `method_id`: of the method that failed, else 0."""

    reply_code: Short
    reply_text: ShortText = ""
    class_id: Short = 0
    method_id: Short = 0


class ConnectionCloseOk(Method, frozen=True, kw_only=True, gc=False):
    pass


class ConnectionBlocked(Method, frozen=True, kw_only=True, gc=False):
    reason: ShortText = ""


class ConnectionUnblocked(Method, frozen=True, kw_only=True, gc=False):
    pass


class ChannelOpen(Method, frozen=True, kw_only=True, gc=False):
    out_of_band: ShortText = ""


class ChannelOpenOk(Method, frozen=True, kw_only=True, gc=False):
    channel_id: LongBytes = b""


class ChannelFlow(Method, frozen=True, kw_only=True, gc=False):
    active: Bit


class ChannelFlowOk(Method, frozen=True, kw_only=True, gc=False):
    active: Bit


class ChannelClose(Method, frozen=True, kw_only=True, gc=False):
    """`class_id`, `method_id`: of the method that failed, else 0."""

    reply_code: Short
    reply_text: ShortText = ""
    class_id: Short = 0
    method_id: Short = 0


class ChannelCloseOk(Method, frozen=True, kw_only=True, gc=False):
    pass


class ExchangeDeclare(Method, frozen=True, kw_only=True, gc=False):
    ticket: Short = 0
    exchange: ShortText
    type: ShortText = "direct"
    passive: Bit = False
    durable: Bit = False
    auto_delete: Bit = False
    internal: Bit = False
    nowait: Bit = False
    arguments: Fields = {}


class ExchangeDeclareOk(Method, frozen=True, kw_only=True, gc=False):
    pass


class ExchangeDelete(Method, frozen=True, kw_only=True, gc=False):
    ticket: Short = 0
    exchange: ShortText
    if_unused: Bit = False
    nowait: Bit = False


class ExchangeDeleteOk(Method, frozen=True, kw_only=True, gc=False):
    pass


class ExchangeBind(Method, frozen=True, kw_only=True, gc=False):
    ticket: Short = 0
    destination: ShortText
    source: ShortText
    routing_key: ShortText = ""
    nowait: Bit = False
    arguments: Fields = {}


class ExchangeBindOk(Method, frozen=True, kw_only=True, gc=False):
    pass


class ExchangeUnbind(Method, frozen=True, kw_only=True, gc=False):
    ticket: Short = 0
    destination: ShortText
    source: ShortText
    routing_key: ShortText = ""
    nowait: Bit = False
    arguments: Fields = {}


class ExchangeUnbindOk(Method, frozen=True, kw_only=True, gc=False):
    pass


class QueueDeclare(Method, frozen=True, kw_only=True, gc=False):
    """`queue` "": the broker draws a name."""

    ticket: Short = 0
    queue: ShortText = ""
    passive: Bit = False
    durable: Bit = False
    exclusive: Bit = False
    auto_delete: Bit = False
    nowait: Bit = False
    arguments: Fields = {}


class QueueDeclareOk(Method, frozen=True, kw_only=True, gc=False):
    queue: ShortText
    message_count: Long = 0
    consumer_count: Long = 0


class QueueBind(Method, frozen=True, kw_only=True, gc=False):
    ticket: Short = 0
    queue: ShortText
    exchange: ShortText
    routing_key: ShortText = ""
    nowait: Bit = False
    arguments: Fields = {}


class QueueBindOk(Method, frozen=True, kw_only=True, gc=False):
    pass


class QueueUnbind(Method, frozen=True, kw_only=True, gc=False):
    ticket: Short = 0
    queue: ShortText
    exchange: ShortText
    routing_key: ShortText = ""
    arguments: Fields = {}


class QueueUnbindOk(Method, frozen=True, kw_only=True, gc=False):
    pass


class QueuePurge(Method, frozen=True, kw_only=True, gc=False):
    ticket: Short = 0
    queue: ShortText
    nowait: Bit = False


class QueuePurgeOk(Method, frozen=True, kw_only=True, gc=False):
    message_count: Long = 0


class QueueDelete(Method, frozen=True, kw_only=True, gc=False):
    ticket: Short = 0
    queue: ShortText
    if_unused: Bit = False
    if_empty: Bit = False
    nowait: Bit = False


class QueueDeleteOk(Method, frozen=True, kw_only=True, gc=False):
    message_count: Long = 0


class BasicQos(Method, frozen=True, kw_only=True, gc=False):
    """Of consumers that begin later; with `is_global`, of the whole channel (RabbitMQ)."""

    prefetch_size: Long = 0
    prefetch_count: Short = 0
    is_global: Bit = False


class BasicQosOk(Method, frozen=True, kw_only=True, gc=False):
    pass


class BasicConsume(Method, frozen=True, kw_only=True, gc=False):
    """`consumer_tag` "": the broker draws one."""

    ticket: Short = 0
    queue: ShortText
    consumer_tag: ShortText = ""
    no_local: Bit = False
    no_ack: Bit = False
    exclusive: Bit = False
    nowait: Bit = False
    arguments: Fields = {}


class BasicConsumeOk(Method, frozen=True, kw_only=True, gc=False):
    consumer_tag: ShortText


class BasicCancel(Method, frozen=True, kw_only=True, gc=False):
    consumer_tag: ShortText
    nowait: Bit = False


class BasicCancelOk(Method, frozen=True, kw_only=True, gc=False):
    consumer_tag: ShortText


class BasicPublish(Method, frozen=True, kw_only=True, gc=False):
    ticket: Short = 0
    exchange: ShortText = ""
    routing_key: ShortText = ""
    mandatory: Bit = False
    immediate: Bit = False


class BasicReturn(Method, frozen=True, kw_only=True, gc=False):
    reply_code: Short
    reply_text: ShortText = ""
    exchange: ShortText
    routing_key: ShortText


class BasicDeliver(Method, frozen=True, kw_only=True, gc=False):
    consumer_tag: ShortText
    delivery_tag: LongLong
    redelivered: Bit = False
    exchange: ShortText
    routing_key: ShortText


class BasicGet(Method, frozen=True, kw_only=True, gc=False):
    ticket: Short = 0
    queue: ShortText
    no_ack: Bit = False


class BasicGetOk(Method, frozen=True, kw_only=True, gc=False):
    delivery_tag: LongLong
    redelivered: Bit = False
    exchange: ShortText
    routing_key: ShortText
    message_count: Long = 0


class BasicGetEmpty(Method, frozen=True, kw_only=True, gc=False):
    cluster_id: ShortText = ""


class BasicAck(Method, frozen=True, kw_only=True, gc=False):
    delivery_tag: LongLong = 0
    multiple: Bit = False


class BasicReject(Method, frozen=True, kw_only=True, gc=False):
    delivery_tag: LongLong
    requeue: Bit = True


class BasicNack(Method, frozen=True, kw_only=True, gc=False):
    delivery_tag: LongLong = 0
    multiple: Bit = False
    requeue: Bit = True


class BasicRecover(Method, frozen=True, kw_only=True, gc=False):
    requeue: Bit = False


class BasicRecoverOk(Method, frozen=True, kw_only=True, gc=False):
    pass


class ConfirmSelect(Method, frozen=True, kw_only=True, gc=False):
    nowait: Bit = False


class ConfirmSelectOk(Method, frozen=True, kw_only=True, gc=False):
    pass


METHODS: dict[int, type[Method]] = {
    0x000A_000A: ConnectionStart,
    0x000A_000B: ConnectionStartOk,
    0x000A_0014: ConnectionSecure,
    0x000A_0015: ConnectionSecureOk,
    0x000A_001E: ConnectionTune,
    0x000A_001F: ConnectionTuneOk,
    0x000A_0028: ConnectionOpen,
    0x000A_0029: ConnectionOpenOk,
    0x000A_0032: ConnectionClose,
    0x000A_0033: ConnectionCloseOk,
    0x000A_003C: ConnectionBlocked,
    0x000A_003D: ConnectionUnblocked,
    0x0014_000A: ChannelOpen,
    0x0014_000B: ChannelOpenOk,
    0x0014_0014: ChannelFlow,
    0x0014_0015: ChannelFlowOk,
    0x0014_0028: ChannelClose,
    0x0014_0029: ChannelCloseOk,
    0x0028_000A: ExchangeDeclare,
    0x0028_000B: ExchangeDeclareOk,
    0x0028_0014: ExchangeDelete,
    0x0028_0015: ExchangeDeleteOk,
    0x0028_001E: ExchangeBind,
    0x0028_001F: ExchangeBindOk,
    0x0028_0028: ExchangeUnbind,
    0x0028_0033: ExchangeUnbindOk,
    0x0032_000A: QueueDeclare,
    0x0032_000B: QueueDeclareOk,
    0x0032_0014: QueueBind,
    0x0032_0015: QueueBindOk,
    0x0032_001E: QueuePurge,
    0x0032_001F: QueuePurgeOk,
    0x0032_0028: QueueDelete,
    0x0032_0029: QueueDeleteOk,
    0x0032_0032: QueueUnbind,
    0x0032_0033: QueueUnbindOk,
    0x003C_000A: BasicQos,
    0x003C_000B: BasicQosOk,
    0x003C_0014: BasicConsume,
    0x003C_0015: BasicConsumeOk,
    0x003C_001E: BasicCancel,
    0x003C_001F: BasicCancelOk,
    0x003C_0028: BasicPublish,
    0x003C_0032: BasicReturn,
    0x003C_003C: BasicDeliver,
    0x003C_0046: BasicGet,
    0x003C_0047: BasicGetOk,
    0x003C_0048: BasicGetEmpty,
    0x003C_0050: BasicAck,
    0x003C_005A: BasicReject,
    0x003C_006E: BasicRecover,
    0x003C_006F: BasicRecoverOk,
    0x003C_0078: BasicNack,
    0x0055_000A: ConfirmSelect,
    0x0055_000B: ConfirmSelectOk,
}

ANSWERS: dict[type[Method], tuple[type[Method], ...]] = {
    ChannelOpen: (ChannelOpenOk,),
    ChannelFlow: (ChannelFlowOk,),
    ExchangeDeclare: (ExchangeDeclareOk,),
    ExchangeDelete: (ExchangeDeleteOk,),
    ExchangeBind: (ExchangeBindOk,),
    ExchangeUnbind: (ExchangeUnbindOk,),
    QueueDeclare: (QueueDeclareOk,),
    QueueBind: (QueueBindOk,),
    QueuePurge: (QueuePurgeOk,),
    QueueDelete: (QueueDeleteOk,),
    QueueUnbind: (QueueUnbindOk,),
    BasicQos: (BasicQosOk,),
    BasicConsume: (BasicConsumeOk,),
    BasicCancel: (BasicCancelOk,),
    BasicGet: (BasicGetOk, BasicGetEmpty),
    BasicRecover: (BasicRecoverOk,),
    ConfirmSelect: (ConfirmSelectOk,),
}
"""What may be asked on a channel, and what answers it."""
