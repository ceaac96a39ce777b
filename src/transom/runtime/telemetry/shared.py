# SPDX-License-Identifier: Apache-2.0
"""The figures of several processes behind one port: each shows the sum of all.

Each process writes its own to a file of its name in one folder, once a second if they have changed,
and whenever it is asked; whoever is asked adds up all files. Counters and histograms are summed,
but for those that all read from one place; a gauge belongs to its process, and gets the label
`process`.

Invariants:
1. What was shown never goes back: a process that is started anew goes on from what its file says,
   so a kill loses at most what was counted in the last second and shown to nobody.
2. No process waits for another: one that is stuck is shown as it last said.
3. A file appears whole or not at all, and gauges of a process that is gone are not shown.
"""

import asyncio
import logging
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec
from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, Metric

log = logging.getLogger(__name__)

EACH_S = 1.0
SUMMED = frozenset({"counter", "histogram", "summary"})
_Labels = tuple[tuple[str, str], ...]


class _Sample(msgspec.Struct, frozen=True, array_like=True):
    name: str
    labels: _Labels
    value: float


class CommonCounter(CounterMetricFamily):
    """A counter that every process reads from one place, where it outlives them: all say the same,
    so the highest is shown."""


class _Family(msgspec.Struct, frozen=True, array_like=True):
    name: str
    kind: str
    meaning: str
    samples: tuple[_Sample, ...]
    common: bool = False

    @property
    def is_own(self) -> bool:
        """Whether it counts what this process did."""
        return self.kind in SUMMED and not self.common


class _Said(msgspec.Struct, frozen=True, array_like=True):
    """What one process says."""

    pid: int
    families: tuple[_Family, ...]


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Said).decode


class SharedRegistry(CollectorRegistry):
    """The collectors of this process, shown together with what its siblings say. A `Service`.

    `folder` is in a private one; `name` is this process's own, the same after each restart.
    """

    def __init__(self, folder: Path, name: str) -> None:
        super().__init__()
        self._folder = folder
        self._name = name
        self._before: tuple[_Family, ...] = ()
        self._written = b""
        self._telling: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Goes on from what a process of our name has counted."""
        self._folder.mkdir(mode=0o700, exist_ok=True)
        said = _read(self._folder / self._name)
        if said is not None:
            self._before = tuple(family for family in said.families if family.is_own)
        self._tell()
        self._telling = asyncio.get_running_loop().create_task(self._keep_telling(), name="metrics")

    async def stop(self) -> None:
        if self._telling is not None:
            self._telling.cancel()
            await asyncio.gather(self._telling, return_exceptions=True)
            self._telling = None
            self._tell()

    def collect(self) -> Iterable[Metric]:
        """Our own as they are now, the others' as they last said."""
        found = [(self._name, self._tell())]
        for path in self._files():
            said = _read(path)
            if said is not None and path.name != self._name:
                found.append((path.name, said))
        return _merged(found)

    async def _keep_telling(self) -> None:
        while True:
            await asyncio.sleep(EACH_S)
            self._tell()

    def _files(self) -> Sequence[Path]:
        """Of all processes, also of those that are gone."""
        try:
            return sorted(path for path in self._folder.iterdir() if path.name[0] != ".")
        except OSError:
            return []

    def _tell(self) -> _Said:
        """Writes what we have to say, if that is new."""
        own = [_family(metric) for metric in super().collect()]
        said = _Said(os.getpid(), _added([*self._before, *own]))
        encoded = _encode(said)
        if encoded != self._written:
            beside = self._folder / f".{self._name}"
            try:
                beside.write_bytes(encoded)
                beside.rename(self._folder / self._name)
                self._written = encoded
            except OSError as error:
                log.warning("figures not written", extra={"detail": str(error)})
        return said


def _read(path: Path) -> _Said | None:
    try:
        return _decode(path.read_bytes())
    except (OSError, msgspec.MsgspecError):
        return None  # not there yet, or of another version


def _family(metric: Metric) -> _Family:
    samples = (
        _Sample(sample.name, tuple(sample.labels.items()), sample.value)
        for sample in metric.samples
    )
    common = isinstance(metric, CommonCounter)
    return _Family(metric.name, metric.type, metric.documentation, tuple(samples), common)


def _added(families: Iterable[_Family]) -> tuple[_Family, ...]:
    """One family for each name; samples of one name and labels are added up, or the highest of
    them is taken."""
    heads: dict[str, _Family] = {}
    values: dict[str, dict[tuple[str, _Labels], float]] = {}
    for family in families:
        heads.setdefault(family.name, family)
        sums = values.setdefault(family.name, {})
        for sample in family.samples:
            key = (sample.name, sample.labels)
            before = sums.get(key, 0.0)
            sums[key] = max(before, sample.value) if family.common else before + sample.value
    return tuple(
        _Family(
            head.name,
            head.kind,
            head.meaning,
            tuple(_Sample(*key, value) for key, value in values[head.name].items()),
            head.common,
        )
        for head in heads.values()
    )


def _merged(all_said: Iterable[tuple[str, _Said]]) -> list[Metric]:
    families = [
        family if family.kind in SUMMED else _of_process(family, name, alive=_lives(said.pid))
        for name, said in all_said
        for family in said.families
    ]
    metrics = []
    for family in _added(families):
        metric = Metric(family.name, family.meaning, family.kind)
        for sample in family.samples:
            metric.add_sample(sample.name, dict(sample.labels), sample.value)
        metrics.append(metric)
    return metrics


def _of_process(family: _Family, process: str, *, alive: bool) -> _Family:
    label = ("process", process)
    samples = (
        _Sample(sample.name, (*sample.labels, label), sample.value) for sample in family.samples
    )
    return _Family(family.name, family.kind, family.meaning, tuple(samples) if alive else ())


def _lives(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()
