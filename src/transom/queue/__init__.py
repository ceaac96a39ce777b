# SPDX-License-Identifier: Apache-2.0
"""The queue: a multi-tenant message queue over HTTP that speaks OpenStack Zaqar's API, version 2.

Workers *claim* messages, observers *read* them; one queue serves both at once.

Invariants:
1. An answer to a write is sent after its transaction is on disk.
2. A queue has one order. A message's number is taken inside the transaction that stores it, so
   numbers become visible in order and no reader that goes by markers skips one.
3. A message id is the number and 64 random bits. Each id, also of a message long gone, is a marker
   that means "after it". A queue deleted and made again goes on with higher numbers.
4. Every statement names one queue of one project (by project and name, or by the content id which
   that row holds); another project's message, claim or queue answers as one that never existed.
5. Expiry of messages, claims and delays is a comparison at use, with a time read inside the
   transaction. The sweep only frees space.
6. A live claim holds its messages alone. Taking them, and checking and deleting one, are one
   conditional statement each; why a delete did nothing is found in the same transaction.
7. A released or expired message is back at its own place. Renewing never revives a claim.
8. A page is full unless the end was reached, and has a link onward whenever it holds anything.
9. Bodies are kept as the bytes received and handed out unchanged.
10. Reading changes nothing.
"""
