# SPDX-License-Identifier: Apache-2.0
"""Whether a message is of this time, and whether it was here before.

| | calls, casts, replies, fan-out | notifications (may wait for a listener) |
|---|---|---|
| from the future by more than the skew | refused | refused |
| not sent within its ticket's life | refused, but a reply | refused |
| past its deadline, or its ticket's end | refused | taken until the retention has passed |
| a reply past its deadline, or a day old | refused | |
| sent before the receiver began to remember | refused, but for the skew | taken |
| a counter that was here | a duplicate | a duplicate |

Clocks may differ by the skew, and no more: it is added on either side.

Invariants:
1. What `Seen` has recorded it answers for ever after, or until the message is too old anyway: what
   it forgets for want of room, the floor of the source or of the stream refuses from then on.
2. Memory is bounded: by streams, and by pages of counters of each source. Whoever fills it has only
   messages of his own refused, as long as sources are fewer than streams.
"""

from collections import OrderedDict
from typing import NamedTuple

from transom.errors import Expired
from transom.messaging.security.direct import LIFETIME_MS_MAX
from transom.messaging.security.reading import SOURCE_BYTES, Opened
from transom.messaging.security.sessions import Role

PAGE_BITS = 10
PAGES_MAX = 65_536
STREAMS_MAX = 100_000
SOURCE_STREAMS_MAX = 5_000
STREAM_BYTES = 24


class Bounds(NamedTuple):
    """`start_ms`: before that nothing is remembered."""

    skew_ms: int
    retention_ms: int
    start_ms: int


def check_time(opened: Opened, bounds: Bounds, now_ms: int) -> int:
    """Until when the message could be taken, ms since 1970. Raises: Expired."""
    sent_ms, skew_ms = opened.sent_ms, bounds.skew_ms
    metadata, session = opened.track.metadata, opened.track.session
    if sent_ms > now_ms + skew_ms:
        raise Expired("the message is from the future; set the clocks right")
    reply = metadata.role is Role.REPLY
    ended = sent_ms >= session.expires_ms + skew_ms and not reply
    if ended or sent_ms < session.issued_ms - skew_ms:
        raise Expired("the message was not sent within the life of its ticket")
    # Invariant: what a sender writes into its message does not make it last longer than this.
    last_ms = max(session.expires_ms, sent_ms)
    if metadata.kind == "notification":
        until_ms = session.expires_ms + bounds.retention_ms
    else:
        until_ms = opened.deadline_ms or last_ms
        until_ms = min(until_ms, sent_ms + LIFETIME_MS_MAX if reply else last_ms)
        if sent_ms < bounds.start_ms - skew_ms:
            raise Expired("the message was sent before this receiver was there")
    if now_ms >= until_ms + skew_ms:
        raise Expired("the message is past its deadline, or too old")
    return until_ms + skew_ms


def check_generation(generation: int, bounds: Bounds, now_ms: int, *, durable: bool) -> None:
    """Whether messages under this generation of a group's key may still come.

    Its number is when it was made, ms since 1970; it serves for a day at most. Raises: Expired.
    """
    age_ms = LIFETIME_MS_MAX + 2 * bounds.skew_ms + (bounds.retention_ms if durable else 0)
    if not now_ms - age_ms <= generation <= now_ms + bounds.skew_ms:
        raise Expired("the generation of the group's key is none of this time")


class Counted:
    """The counters that came of one stream, in pages of 1024 bits. `pages`: the bits, and from when
    on all that is in the page is too old anyway.
    """

    __slots__ = ("floor", "newest_ms", "pages")

    def __init__(self) -> None:
        self.pages: dict[int, tuple[int, int]] = {}
        self.floor = 0
        self.newest_ms = 0

    def has(self, counter: int) -> bool:
        page, bit = counter >> PAGE_BITS, counter & ((1 << PAGE_BITS) - 1)
        return page < self.floor or bool(self.pages.get(page, _EMPTY)[0] >> bit & 1)

    def add(self, counter: int, until_ms: int) -> bool:
        """Whether that took a page more."""
        page, bit = counter >> PAGE_BITS, 1 << (counter & ((1 << PAGE_BITS) - 1))
        known = self.pages.get(page)
        if known is None:
            self.pages[page] = bit, until_ms
            return True
        bits, last_ms = known
        self.pages[page] = bits | bit, until_ms if until_ms > last_ms else last_ms
        return False

    @property
    def until_ms(self) -> int:
        return max((until_ms for _, until_ms in self.pages.values()), default=0)

    def lose(self) -> None:
        """The page that came first; what it had is refused from now on."""
        page = next(iter(self.pages))
        del self.pages[page]
        self.floor = max(self.floor, page + 1)

    def forget(self, now_ms: int) -> int:
        """What is too old anyway; how many pages that was. It is no loss: the floor stays."""
        old = [page for page, (_, until_ms) in self.pages.items() if until_ms <= now_ms]
        for page in old:
            del self.pages[page]
        return len(old)


_EMPTY = (0, 0)


class Source:
    """The streams of one sender. `floor_ms`: what it sent by then and is of no stream here is
    refused, until `floor_until_ms`, when it is too old anyway.
    """

    __slots__ = ("floor_ms", "floor_until_ms", "pages", "streams")

    def __init__(self) -> None:
        self.streams: OrderedDict[bytes, Counted] = OrderedDict()
        self.pages = 0
        self.floor_ms = 0
        self.floor_until_ms = 0

    def lose(self) -> None:
        """The stream that was not used for longest."""
        _, lost = self.streams.popitem(last=False)
        self.pages -= len(lost.pages)
        self.floor_ms = max(self.floor_ms, lost.newest_ms)
        self.floor_until_ms = max(self.floor_until_ms, lost.until_ms)


class Seen:
    """Which counters of which streams came. A stream is 24 bytes, of which the first 8 name the
    sender, and the others place, sender and instance.
    """

    def __init__(
        self,
        *,
        streams_max: int = STREAMS_MAX,
        source_streams_max: int = SOURCE_STREAMS_MAX,
        pages_max: int = PAGES_MAX,
    ) -> None:
        self.sources: dict[bytes, Source] = {}
        self._streams = 0
        self._streams_max = streams_max
        self._source_streams_max = source_streams_max
        self._pages_max = pages_max

    def has(self, stream: bytes, counter: int, sent_ms: int) -> bool:
        """Whether it was recorded, or may have been."""
        source = self.sources.get(stream[:SOURCE_BYTES])
        if source is None:
            return False
        counted = source.streams.get(stream)
        return sent_ms <= source.floor_ms if counted is None else counted.has(counter)

    def record(self, stream: bytes, counter: int, sent_ms: int, until_ms: int) -> None:
        """Once it has been taken. `until_ms`: from then on it is refused for its age."""
        source, counted = self._counted(stream)
        if sent_ms > counted.newest_ms:
            counted.newest_ms = sent_ms
        if counted.add(counter, until_ms):
            source.pages += 1
            if source.pages > self._pages_max:
                self._lose_page(source, counted)

    def restore(
        self, stream: bytes, page: int, bits: int, until_ms: int, floor: int, newest_ms: int
    ) -> None:
        """A page of a stream as it was."""
        source, counted = self._counted(stream)
        source.pages += page not in counted.pages
        counted.pages[page] = bits, until_ms
        counted.floor, counted.newest_ms = floor, newest_ms

    def restore_floor(self, name: bytes, floor_ms: int, floor_until_ms: int) -> None:
        """Of a source, as it was."""
        source = self.sources.setdefault(name, Source())
        source.floor_ms, source.floor_until_ms = floor_ms, floor_until_ms

    def forget(self, now_ms: int) -> None:
        """What is too old now."""
        for name, source in list(self.sources.items()):
            for stream, counted in list(source.streams.items()):
                source.pages -= counted.forget(now_ms)
                if not counted.pages:
                    del source.streams[stream]
                    self._streams -= 1
            if not source.streams and source.floor_until_ms <= now_ms:
                del self.sources[name]

    def _counted(self, stream: bytes) -> tuple[Source, Counted]:
        """The newest of its source's from now on."""
        name = stream[:SOURCE_BYTES]
        source = self.sources.get(name)
        if source is None:
            source = self.sources[name] = Source()
        counted = source.streams.get(stream)
        if counted is not None:
            source.streams.move_to_end(stream)
            return source, counted
        counted = source.streams[stream] = Counted()
        self._streams += 1
        if len(source.streams) > self._source_streams_max:
            source.lose()
            self._streams -= 1
        elif self._streams > self._streams_max:
            max(self.sources.values(), key=lambda one: len(one.streams)).lose()
            self._streams -= 1
        return source, counted

    def _lose_page(self, source: Source, counted: Counted) -> None:
        if len(source.streams) > 1 and len(counted.pages) == 1:
            source.lose()
            self._streams -= 1
        else:
            counted.lose()
            source.pages -= 1
