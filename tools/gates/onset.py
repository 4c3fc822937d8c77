"""Since when does treatment do harm, if it does? What is said of a harm that began long after the first exposures.

The estimate of a change point by CUSUM (Page, 1954): the log likelihood ratio of "the margin away to the worse" against
"as control" is added up from interval to interval and begins anew at zero; the harm that goes on began where it last
did. No decision rests on it.
"""

import math
from dataclasses import dataclass
from typing import Any, Self

from tools.gates.judging import NOTHING, Counts, Direction
from tools.gates.wealth import BadEvidence

HIGHEST = 50.0
"""The sum is kept below this many nats, so that the end of a harm is seen not long after it."""
WHOLE = 0.9
"""From this part of all exposures on, what was counted since is all there is."""


@dataclass(frozen=True)
class Onset:
    """The CUSUM in nats, and what the arms have counted since it was last zero."""

    height: float = 0.0
    control: Counts = NOTHING
    treatment: Counts = NOTHING

    def after(self, direction: Direction, margin: float, control: Counts, treatment: Counts) -> "Onset":
        """With one more interval."""
        events, exposures = control.events + treatment.events, control.exposures + treatment.exposures
        if not control.exposures or not treatment.exposures:
            return self
        worse = margin if direction is Direction.INCREASE else 1 / margin
        share = treatment.exposures / exposures
        step = treatment.events * math.log(worse) - events * math.log1p(share * (worse - 1))
        height = min(self.height + step, HIGHEST)
        if height <= 0:
            return NO_ONSET
        return Onset(height, self.control + control, self.treatment + treatment)

    def lately(self, both: Counts) -> tuple[Counts, Counts] | None:
        """Control and treatment since the harm began; None where there is none, or where it is of all of `both`."""
        if not self.treatment.exposures or not self.control.exposures:
            return None
        seen = self.control.exposures + self.treatment.exposures
        return None if seen >= WHOLE * both.exposures else (self.control, self.treatment)

    def to_json(self) -> list[Any]:
        """A plain list that `json.dumps` takes and `from_json` reads back exactly."""
        return [self.height, self.control.to_json(), self.treatment.to_json()]

    @classmethod
    def from_json(cls, plain: Any) -> Self:
        """What `to_json` wrote. Raises BadEvidence, and what a damaged number raises."""
        height, control, treatment = plain
        read = cls(float(height), Counts.from_json(control), Counts.from_json(treatment))
        if not 0 <= read.height <= HIGHEST:
            raise BadEvidence("Stored evidence holds a change point that is none; start new evidence.")
        return read


NO_ONSET = Onset()
