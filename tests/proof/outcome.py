# SPDX-License-Identifier: Apache-2.0
"""What a campaign found."""

from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class Outcome:
    """`rounds`: steps, seeds or strikes, as the campaign counts; `figures`: what else it tells."""

    rounds: int
    faults: list[str] = field(default_factory=list)
    figures: dict[str, Any] = field(default_factory=dict)
