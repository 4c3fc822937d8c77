"""Gate statistics: evidence in, verdict out. Pure: no clock, no I/O.

A check counts one interval and calls `update`, then `judge`; the evidence is stored between checks. Every answer holds
however often it is asked for (anytime-valid).
"""

from tools.gates.calculators import (
    BadQuestion,
    Minutes,
    StageLength,
    Traffic,
    Unprovable,
    information,
    minimum_sample,
    smallest_harm,
    stage_length,
    time_to_catch,
    time_to_prove,
)
from tools.gates.ceiling import CeilingEvidence, CeilingTest
from tools.gates.ceiling import judge as judge_ceiling
from tools.gates.ceiling import update as update_ceiling
from tools.gates.counts import CountEvidence, CountTest, Interval, judge, update, update_all
from tools.gates.dispersion import estimate_dispersion
from tools.gates.judging import BadCounts, BadTest, Counts, Direction
from tools.gates.verdict import BadVerdict, Harm, NoData, Outcome, Verdict, amount, error, no_data, worst
from tools.gates.wealth import BadEvidence

__all__ = [
    "BadCounts",
    "BadEvidence",
    "BadQuestion",
    "BadTest",
    "BadVerdict",
    "CeilingEvidence",
    "CeilingTest",
    "CountEvidence",
    "CountTest",
    "Counts",
    "Direction",
    "Harm",
    "Interval",
    "Minutes",
    "NoData",
    "Outcome",
    "StageLength",
    "Traffic",
    "Unprovable",
    "Verdict",
    "amount",
    "error",
    "estimate_dispersion",
    "information",
    "judge",
    "judge_ceiling",
    "minimum_sample",
    "no_data",
    "smallest_harm",
    "stage_length",
    "time_to_catch",
    "time_to_prove",
    "update",
    "update_all",
    "update_ceiling",
    "worst",
]
