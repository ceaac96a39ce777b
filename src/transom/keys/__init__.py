# SPDX-License-Identifier: Apache-2.0
"""Keys: the key server of message security.

Each process that speaks on the bus, a *party* named `<topic>.<server>`, has a long-term key that it
shares with this server and with nobody else. With it the party asks for *tickets*, which let it
speak to another party or to a group in secret, for the keys of the *groups* that it is in, and for
a *certificate* of its own public keys. What tickets and certificates look like stands in
`transom.messaging.security`.

Invariants:
1. A key lies sealed wherever it is kept; it leaves as a party's file, when it is made by whoever
   has the data folder, or sealed for the one party that it is for.
2. A request is answered once: its nonce is kept as long as its time would let it in, in the
   database, so another process or a restart knows it too.
3. A generation's number is never used twice, not after a removal and not after a restore: it grows
   with time.
4. A key that was replaced goes on as long as its overlap says, and no longer.
5. Of several processes that make a group's next key, or the first key of authority, at once, one
   makes it and all use that.
6. To a request, an unknown name is answered as a bad signature. What parties there are is no
   secret: certificates can be asked for by anybody, by group.
7. Who is removed, or whose key is voided at once, has what it was given until that ends: a ticket's
   life at most. It can read and write nothing under keys of groups that are made from then on.

Source: OpenStack's Kite (retired), for what there is and how it is asked for. It never looked at
nonces, took requests from the future, and compared signatures with `==`; here see `logic.freshness`
and `app.grants`.
"""
