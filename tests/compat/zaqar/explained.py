# SPDX-License-Identifier: Apache-2.0
"""Why answers differ: each line is for one row of docs/reference/queue-differences.md.

In the table, words of a row, and below them where it shows: `walk step | field | Zaqar's value |
ours`, in which `*` stands for anything and `a / b` for either.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache


@dataclass(frozen=True)
class Line:
    row: str
    where: str

    def explains(self, step: str, name: str, theirs: str, ours: str) -> bool:
        patterns = [part.strip() for part in self.where.split(" | ")]
        found = (step, name, theirs, ours)
        return all(_matches(*pair) for pair in zip(patterns, found, strict=True))


def _matches(pattern: str, text: str) -> bool:
    return _compiled(pattern).fullmatch(text) is not None


@lru_cache
def _compiled(pattern: str) -> re.Pattern[str]:
    one = ("".join(".*" if c == "*" else re.escape(c) for c in p) for p in pattern.split(" / "))
    return re.compile("|".join(one), re.DOTALL)


TABLE = """
A claim takes only what no live claim holds
    claims.takes_only_what_is_free a third claim | body.messages* | * | *
Another project's message can be read and deleted by its id
    messages.by_ids abroad | status | 200 | 404
    messages.deletions it is still there | status | 404 | 200
    messages.deletions what is left | body.* | * | *
A marker whose message is gone
    messages.pages after the first | body.* | * | *
    messages.pages after nowhere | body.* | * | *
    messages.pages after one that is gone | body.* | * | *
A marker that can be no id
    messages.pages after no id | status | 200 | 400
filter after `limit`: a page can be empty while more follows
    messages.pages_with_claims those of others, two | body.* | * | *
`include_claimed=true` without a marker: 503
    messages.pages_with_claims all / claims.extends_lives they live as long | status | 503 | 200
`PATCH` of metadata with an object as body: 503
    queues.patches an object | status | 503 | 400
`delay` of a message counts only if its queue has a default delay
    messages.delays hidden / messages.delays claimed | body.* | * | *
    messages.posts delay * | status | 201 | 400
`with_count=true` answers `true`
    queues.pages * | body.count | true | *
A message moved to the dead letters stays locked, with its old life
    claims.dead_letters the dead letters | body.* | * | *
    claims.dead_letters the dead letters, claimed | status | 204 | 201
    claims.dead_letters counts | body.messages.claimed | 0 | 1
    claims.dead_letters counts | body.messages.total | 0 | 1
    claims.dead_letters counts | body.messages.*est.* | absent | *
A claim that moved messages to the dead letters does not go on
    claims.dead_letters the first has been claimed once | status | 204 | 201
    claims.dead_letters what is left | body.* | * | *
`stats`: `oldest` and `newest` carry bodies
    * | body.messages.oldest.body | * | absent
    * | body.messages.newest.body | * | absent
    * | body.messages.*.ttl | * | absent
    * | body.messages.*.claim_id | * | absent
    * | body.messages.*.claim_count | * | absent
`purge` leaves claimed messages
    queues.purges counted after | body.messages.* | * | *
`grace` is not checked in `PATCH` of a claim
    claims.renews grace * | status | 204 | 400
A queue name may end with a line break
    requests.names * a line break | status | * | 400
SDKs cannot discover the version without a token
    requests.documents home | status | 404 | 200
    requests.documents home with a slash | body.version.* | absent | *
Filters of a list of queues are ignored with the SQL catalogue
    queues.pages ?name=* | body.queues* | * | *
    queues.pages ?name=* | body.links* | * | *
    queues.pages ?n=* | body.queues* | * | *
    queues.pages ?n=* | body.links* | * | *
    queues.pages ?none=* | body.queues* | * | *
    queues.pages ?none=* | body.links* | * | *
    queues.pages ?t=* | body.queues* | * | *
    queues.pages ?t=* | body.links* | * | *
    queues.pages ?at=* | body.queues* | * | *
    queues.pages ?at=* | body.links* | * | *
Reserved attributes with values that mean nothing
    queues.attributes * | status | 201 | 400
A message that is no object: 500
    messages.posts no object | status | 500 | 400
A change whose path is no text: 503
    queues.patches a path that is no text | status | 503 | 400
405, which python-zaqarclient takes for
    queues.life exists * / queues.life exists | status | 405 | *
Chunked bodies
    requests.bodies in chunks | status | 400 | 201
`GET /v2/ping`
    requests.documents ping without a client | status | 400 | 204
Whole numbers over 64 bits
    messages.posts a body of large / messages.posts a body of very large | status | 400 | 201
`HEAD` of what `GET` answers
    requests.places head queues | status | 405 | 200
    requests.places * | header allow | * | *HEAD*
    requests.places options | status | 200 | 405
    requests.places * | header allow | POST, OPTIONS | POST
A slash at the end of a path
    requests.places a slash at the end | status | 400 | 200
Ids in capitals
    messages.by_ids in capitals / claims.shows in capitals | status | 404 | 200
    claims.a_claim_in_capitals delete | status | 400 | 204
`purge` with an object without `resource_types`
    requests.bodies purge: an object | status | 400 | 204
    requests.bodies purge: a key twice | status | 400 | 204
    queues.purges an unknown field | status | 400 | 204
A charset beside the patch type
    queues.patches as a patch of old | status | 415 | 200
    queues.patches show | body.h | absent | 1
A body of more than four times its limit
    messages.posts far too large / queues.attributes far too much | status | 400 | 413
`ids=` together with `claim_ids=`
    messages.deletions with claims | status | 204 | 400
Content types
    requests.types * as a form | status | 400 | 415
    requests.types * as text | status | 201 | 415
always a UUID, with or without dashes
    requests.clients in braces | status | 200 | 400
`NaN` and `Infinity`
    requests.bodies put a queue: NaN / requests.bodies claim: NaN | status | 20* | 400
A `PATCH` that changes nothing
    queues.patches an empty list | status | 200 | 400
A parameter given twice
    messages.by_ids ids twice | body.* | * | *
`ttl: null` and `grace: null` in a claim
    claims.takes * None | status | 400 | 204
    claims.renews ttl None | status | 400 | 204
Addresses of versions carry the mount's prefix
    requests.documents versions | body.versions[0].links[0].href | /v2/ | /queue/v2/
`updated` of a version is a date as ISO 8601 has it
    requests.documents versions | body.versions[0].updated | 2014-9-24T04:06:47Z | <a time>
Titles of refusals at the door
    requests.places * / queues.patches as * | body.title | 40* / 41* | *
    requests.places * / sharing.* / pools.* | body.description | absent | <text>
    sharing.* / pools.* | body.title | 40* | *
    sharing.* / pools.* | header allow | * | *
    requests.types * | body.title / body.description / header content-type | absent | *
A body of the wrong shape
    requests.bodies * | body.title | Invalid API request | Invalid request body
    messages.posts * | body.title | Invalid API request | Invalid request body
    queues.purges * | body.title | Invalid API request | Invalid request body
    claims.* / sharing.* | body.title | Invalid API request | Invalid request body
`share` without a body
    sharing.shares no body | status | 400 | 200
`share` takes only methods of the API
    sharing.shares a method that is none | status | 200 | 400
    sharing.shares a method in small letters | status | 200 | 400
    sharing.shares a date | status | 200 | 400
`share` with a list as body: 500
    sharing.shares a list | status | 500 | 400
A signature whose time of expiry is not sent
    sharing.uses_what_is_shared changed: no time | status | 200 | 404
A subscriber that is no text, or a body that is a list: 503
    sharing.subscribes post a number / sharing.subscribes post a list | status | 503 | 400
Options of a subscription that mean nothing
    sharing.subscribes post options as list | status | 201 | 400
    sharing.subscribes post an unknown policy | status | 201 | 400
A marker of subscriptions that is not there
    sharing.subscribes list ?marker=1e* | body.* | * | *
`health` counts
    sharing.health health | body.message_volume* | * | *
Titles of refusals of pools, flavors and subscriptions
    sharing.subscribes patch unknown | body.title | Unable to update subscription | *
    pools.pools * | body.title | Invalid request body / Unable to * / updatefail | *
    pools.pools flavors: put no pools | header location | * | absent
The options of a pool are always shown
    pools.pools show / pools.pools patch * | body.options.* | absent | 1
A flavor also says that it is durable
    pools.pools flavors: * | body.*capabilities* | * | *
A pool that a flavor names can be deleted
    pools.pools a pool in use | status | 204 | 403
A path that is not UTF-8
    requests.names * no utf-8 | body.title | Invalid queue identification | Invalid request body
A name with an escaped slash
    requests.names * a slash | status | 404 | 400
A queue called `.`
    requests.names * a dot | header location | * | *
The next page's link repeats what was asked
    * | body.links[0].href?include_delayed | true | absent
    messages.pages * | body.links[0].href?* | true | 1 / false
    queues.pages * | body.links[0].href?detailed | true | 1
    queues.pages ?limit= | body.links[0].href?limit | absent | *
`pop` shows no claim
    messages.pops * | body.messages*.claim_id | <1> | null
The home document lists
    requests.documents home with a slash | body.resources.* | * | *
Topics
    requests.places topics | status | 503 | 404
"""


def _read(table: str) -> Iterator[Line]:
    row = ""
    for text in table.strip().splitlines():
        if text.startswith(" "):
            yield Line(row, text.strip())
        else:
            row = text


LINES = list(_read(TABLE))
