# SPDX-License-Identifier: Apache-2.0
"""The bus over RabbitMQ: `rabbit://user:password@host:port/vhost?option=value` (also `kombu://`).

It speaks oslo.messaging's wire format: services of either kind take each other's place. A
transport has two connections, one to send and one to receive, and no thread. What holds:

1. `sent` is told None once the broker has confirmed the message. What a broken connection left
   unconfirmed is sent again, the same bytes, while its deadline lasts; receivers drop copies.
2. A mandatory message that no queue takes is told at once: the broker returns it. So is one to a
   queue that nobody consumes, as known for at most a second.
3. Whatever was declared is declared again after a break, under the same names, before the
   transport is told that it is connected; every break of the receiving side is a Gap.
4. Our queues are named by the topic alone, as oslo.messaging names them: two exchanges that carry
   one topic share a queue. Listeners give each other back what is not theirs, without an order.
5. After a fork the child's driver sends nothing; it needs a transport of its own.

Picture: `driver` holds a `session` for the `publisher` and one for the `receiver`; a session makes
a `link` (asyncio around the pure machine of `proto.amqp`) again and again; `publisher` sends along
routes on a `lane` each; `receiver` keeps each `consumer` served; `topology` says what is declared,
`declarer` declares it; `missing` and `answers` care for callers whose queue is away.
"""

from transom.messaging.drivers.rabbit.driver import RabbitDriver

__all__ = ["RabbitDriver"]
