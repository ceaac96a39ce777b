# SPDX-License-Identifier: Apache-2.0
"""A contender's process: commands by lines, one JSON object in, one out, one at a time.

Runs in the environment of each contender, so it imports nothing of ours. Every answer carries
`cpu_s`: what this process has used so far, user plus system, all its threads.
"""

import asyncio
import json
import os
import resource
import sys
import time


def cpu_s():
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def say(**answer):
    sys.stdout.write(json.dumps({**answer, "cpu_s": cpu_s()}) + "\n")
    sys.stdout.flush()


def serve(commands):
    """Runs `commands[do](**arguments)` for each line, until the input ends."""
    say(ready=os.getpid())
    for line in sys.stdin:
        request = json.loads(line)
        say(result=commands[request.pop("do")](**request))


async def serve_async(commands):
    """The same on a loop, which goes on between the lines."""
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    say(ready=os.getpid())
    async for line in reader:
        request = json.loads(line)
        say(result=await commands[request.pop("do")](**request))


def summary(began_s, latencies_s):
    """What a round came to that began then, on the machine's monotonic clock."""
    took_s = time.monotonic() - began_s
    ordered = sorted(latencies_s)

    def at(share):
        return round(ordered[min(len(ordered) - 1, int(len(ordered) * share))] * 1000, 3)

    count = len(ordered)
    times = {"p50_ms": at(0.5), "p99_ms": at(0.99)}
    return {"count": count, "began_s": began_s, "took_s": took_s, **times}


class Counter:
    """Casts that a server carried out: how many, when the first and the last one came."""

    def __init__(self):
        self.reset()

    def reset(self):
        self.count = 0
        self.first_s = self.last_s = 0.0

    def add(self, count=1):
        self.last_s = time.monotonic()
        if not self.count:
            self.first_s = self.last_s
        self.count += count

    def told(self):
        return {"count": self.count, "first_s": self.first_s, "last_s": self.last_s}
