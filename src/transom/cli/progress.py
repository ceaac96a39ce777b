# SPDX-License-Identifier: Apache-2.0
"""How far a command is: a bar on a terminal, else a line now and then, on standard error."""

import sys
import time
from typing import Self

BAR = 24
TERMINAL_S = 0.1
LINES_S = 5.0


class Progress:
    """`verb`: what is done to messages ("posted"). `total`: how many units there are, if known."""

    def __init__(self, verb: str, total: int | None = None) -> None:
        self._verb = verb
        self._total = total
        self._terminal = sys.stderr.isatty()
        self._pause_s = TERMINAL_S if self._terminal else LINES_S
        self._began_s = self._shown_s = time.monotonic()
        self._bar_stands = False

    def show(self, messages: int, units: int | None = None) -> None:
        """`units`: how many of the total are done; default: as many as messages."""
        now_s = time.monotonic()
        if now_s - self._shown_s < self._pause_s:
            return
        self._shown_s = now_s
        text = f"{messages} {self._verb}, {messages / (now_s - self._began_s):.0f}/s"
        if self._total:
            part = min(1.0, (messages if units is None else units) / self._total)
            filled = round(part * BAR)
            bar = f"[{'#' * filled}{'.' * (BAR - filled)}] " if self._terminal else ""
            text = f"{bar}{part:4.0%}  {text}"
        if self._terminal:
            self._bar_stands = True
            print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)
        else:
            print(text, file=sys.stderr, flush=True)

    def clear(self) -> None:
        """Takes the bar away, for a line of text."""
        if self._bar_stands:
            self._bar_stands = False
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.clear()

    def end(self, text: str) -> None:
        """The last word."""
        self.clear()
        print(text, file=sys.stderr, flush=True)
