# SPDX-License-Identifier: Apache-2.0
"""AMQP 0-9-1 as a pure machine: no sockets, no clock, no tasks.

    connection = Connection(Settings(username="guest", password="guest"))
    connection.start()
    stream.write(connection.take())
    for event in connection.receive(stream.read()): ...          # until Opened
    channel = connection.open_channel()
    connection.request(channel, ConfirmSelect())                 # -> Answered
    tag = connection.publish(channel, "", "queue", properties, b"body", mandatory=True)
    stream.write(connection.take())                              # -> perhaps Returned, Confirmed

| of a Connection | |
|---|---|
| `start()`, `receive(data)`, `take()`, `ended()` | the stream: begun, read, to write, ended |
| `tick(now_s)`, `wake_s` | heartbeats; due when Opened comes and then at `wake_s` |
| `open_channel()`, `close_channel(channel)`, `close(text)` | |
| `publish(channel, exchange, routing_key, properties, body, mandatory=)` | gives the tag |
| `request(channel, method)` | declare, bind, consume, ...; Answered, or `nowait` |
| `acknowledge(channel, tag, multiple)`, `reject(channel, tag, requeue, multiple)` | of deliveries |
| `state`, `agreed` | how it stands |

`receive`, `ended`, `tick` and `close` give events, in order. The verbs on channels raise NotOpen
and Unencodable, and have written nothing then. Any of these may leave something to `take`, also
where it gives no event, as in the handshake. The wire: docs/protocol/amqp.md.
"""

from transom.messaging.proto.amqp.connection import Connection, State
from transom.messaging.proto.amqp.events import (
    Answered,
    Blocked,
    ChannelClosed,
    ChannelOpened,
    Closed,
    Confirmed,
    ConsumerCancelled,
    Delivered,
    Event,
    Flow,
    Opened,
    Oversized,
    Returned,
    Unblocked,
)
from transom.messaging.proto.amqp.fault import Code, NotOpen
from transom.messaging.proto.amqp.methods import (
    BasicCancel,
    BasicCancelOk,
    BasicConsume,
    BasicConsumeOk,
    BasicGet,
    BasicGetEmpty,
    BasicGetOk,
    BasicQos,
    BasicQosOk,
    BasicRecover,
    BasicRecoverOk,
    ChannelFlow,
    ChannelFlowOk,
    ConfirmSelect,
    ConfirmSelectOk,
    ExchangeBind,
    ExchangeBindOk,
    ExchangeDeclare,
    ExchangeDeclareOk,
    ExchangeDelete,
    ExchangeDeleteOk,
    ExchangeUnbind,
    ExchangeUnbindOk,
    Method,
    QueueBind,
    QueueBindOk,
    QueueDeclare,
    QueueDeclareOk,
    QueueDelete,
    QueueDeleteOk,
    QueuePurge,
    QueuePurgeOk,
    QueueUnbind,
    QueueUnbindOk,
)
from transom.messaging.proto.amqp.properties import (
    Properties,
    decode_properties,
    encode_properties,
)
from transom.messaging.proto.amqp.settings import BODY_BYTES_MAX, Mechanism, Settings
from transom.messaging.proto.amqp.wire import Table, Timestamp, Unencodable

__all__ = [
    "BODY_BYTES_MAX",
    "Answered",
    "BasicCancel",
    "BasicCancelOk",
    "BasicConsume",
    "BasicConsumeOk",
    "BasicGet",
    "BasicGetEmpty",
    "BasicGetOk",
    "BasicQos",
    "BasicQosOk",
    "BasicRecover",
    "BasicRecoverOk",
    "Blocked",
    "ChannelClosed",
    "ChannelFlow",
    "ChannelFlowOk",
    "ChannelOpened",
    "Closed",
    "Code",
    "ConfirmSelect",
    "ConfirmSelectOk",
    "Confirmed",
    "Connection",
    "ConsumerCancelled",
    "Delivered",
    "Event",
    "ExchangeBind",
    "ExchangeBindOk",
    "ExchangeDeclare",
    "ExchangeDeclareOk",
    "ExchangeDelete",
    "ExchangeDeleteOk",
    "ExchangeUnbind",
    "ExchangeUnbindOk",
    "Flow",
    "Mechanism",
    "Method",
    "NotOpen",
    "Opened",
    "Oversized",
    "Properties",
    "QueueBind",
    "QueueBindOk",
    "QueueDeclare",
    "QueueDeclareOk",
    "QueueDelete",
    "QueueDeleteOk",
    "QueuePurge",
    "QueuePurgeOk",
    "QueueUnbind",
    "QueueUnbindOk",
    "Returned",
    "Settings",
    "State",
    "Table",
    "Timestamp",
    "Unblocked",
    "Unencodable",
    "decode_properties",
    "encode_properties",
]
