"""Rollouts of every shape, sensible and not, for properties of what people are shown."""

from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import strategies as st

from tools.gates import Direction, Harm, NoData, Outcome, Verdict
from tools.plans.model import Audience, Exposure, Guardrail, Mode, OnFail, OnNoData, Plan, Stage, Strategy
from tools.records.log import Event
from tools.rollouts.acceptances import AcceptanceView
from tools.rollouts.approvals import Purpose
from tools.rollouts.checks import Watched
from tools.rollouts.events import Happening
from tools.rollouts.freezes import FreezeView
from tools.rollouts.phases import Phase
from tools.rollouts.views import ApprovalView, CheckView, RolloutView

NASTY = [
    "<!channel>",
    "<@U000>",
    "&amp;",
    "`code`",
    "*bold*",
    "\n>quote",
    "\u202eright to left",
    "😀" * 40,
    "a&<>" * 900,
]
_long = st.builds(lambda piece, times: piece * times, st.text(min_size=1, max_size=8), st.integers(100, 500))
short = st.one_of(st.text(max_size=40), st.sampled_from(NASTY[:-1]))
sentences = st.one_of(st.text(max_size=40), st.sampled_from(NASTY), _long)
names = st.one_of(
    st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._:/-]{0,11}", fullmatch=True), st.sampled_from(["n" * 200, "a.b/c:d-" * 25])
)
people = st.one_of(st.from_regex(r"U[A-Z0-9]{8}", fullmatch=True), st.just("sluice"), sentences)
moments = st.datetimes(datetime(1971, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
durations = st.timedeltas(timedelta(0), timedelta(days=365))
rates = st.one_of(st.none(), st.floats(allow_nan=True, allow_infinity=True))
e_values = st.one_of(st.floats(min_value=0), st.just(float("nan")))
numbers = st.integers(0, 10**15)


def _perhaps(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.one_of(st.none(), values)


audiences = st.builds(
    Audience,
    tenants=st.lists(names, max_size=5).map(tuple),
    regions=st.lists(names, max_size=5).map(tuple),
)
exposures = st.builds(
    Exposure,
    percent=st.integers(0, 100_000).map(lambda thousandths: thousandths / 1000),
    mode=st.sampled_from(Mode),
    audience=audiences,
)
guardrails = st.builds(
    Guardrail,
    metric=names,
    direction=st.sampled_from(Direction),
    margin=st.floats(1.01, 100),
    min_sample=st.integers(1, 10**12),
    ceiling=st.one_of(st.none(), st.floats(0.001, 0.999)),
    on_fail=st.sampled_from(OnFail),
    on_no_data=st.sampled_from(OnNoData),
)
stages = st.builds(
    Stage,
    exposure=exposures,
    bake=durations,
    time_limit=durations,
    guardrails=st.one_of(
        st.lists(guardrails, min_size=1, max_size=3), st.lists(guardrails, min_size=9, max_size=12)
    ).map(tuple),
)
_some_stages = st.lists(stages, min_size=1, max_size=3)
plans = st.builds(
    Plan,
    flag=names,
    environment=names,
    control=names,
    treatment=names,
    strategy=st.sampled_from(Strategy),
    stages=st.builds(lambda some, times: tuple(some * times)[:20], _some_stages, st.integers(1, 20)),
    blind_budget=durations,
    check_every=durations,
    rationale=st.lists(sentences, max_size=12).map(tuple),
)
verdicts = st.builds(
    Verdict,
    outcome=st.sampled_from(Outcome),
    why=sentences,
    harm=st.sampled_from(Harm),
    no_data=st.one_of(st.none(), st.sampled_from(NoData)),
    treatment_rate=rates,
    control_rate=rates,
    ratio=rates,
    margin=rates,
    harm_e=e_values,
    safe_e=e_values,
    treatment_n=numbers,
    control_n=numbers,
)
approvals = st.builds(
    ApprovalView,
    id=st.from_regex(r"[0-9a-f]{32}", fullmatch=True),
    purpose=st.sampled_from(Purpose),
    to_stage=st.integers(0, 25),
    why=sentences,
    requester=people,
    by=st.lists(people, max_size=30).map(tuple),
    needed=st.integers(1, 5),
    expires_at=moments,
)
facts = st.dictionaries(
    st.sampled_from(
        [
            "reason",
            "exposure",
            "before",
            "after",
            "why",
            "ends",
            "version",
            "answer",
            "by",
            "expires_at",
            "until",
            "error",
        ]
    ),
    st.one_of(sentences, st.none(), st.booleans(), numbers, st.lists(people, max_size=3), st.floats()),
)
events = st.builds(
    Event,
    seq=numbers,
    at=moments,
    kind=st.sampled_from(Happening).map(str),
    actor=people,
    rollout_id=st.just("r"),
    payload=facts,
    sha256=st.just(""),
)


@st.composite
def views(draw: st.DrawFn) -> RolloutView:
    """A rollout in any phase, with anything that may be known about it, fitting together or not."""
    plan = draw(plans)
    return RolloutView(
        id=draw(st.from_regex(r"[0-9a-f]{32}", fullmatch=True)),
        flag=plan.flag,
        environment=plan.environment,
        phase=draw(st.sampled_from(Phase)),
        plan=plan,
        plan_version=draw(st.integers(0, 10**6)),
        stage=draw(st.one_of(st.none(), st.integers(0, len(plan.stages) - 1))),
        place=None,
        check=draw(st.one_of(st.none(), checks())),
        approval=draw(_perhaps(approvals)),
        requester=draw(people),
        created_at=draw(moments),
        frozen=draw(_perhaps(freezes)),
        acceptances=tuple(draw(st.lists(acceptances(plan), max_size=2))),
        **{name: draw(_perhaps(exposures)) for name in ("exposure", "known_good", "setting")},
        **{name: draw(_perhaps(sentences)) for name in ("error", "pause_reason", "pause_ends", "rollback_reason")},
        **{name: draw(_perhaps(moments)) for name in MOMENTS},
    )


MOMENTS = ("stage_since", "limit_from", "verify_until", "blind_since", "next_check", "ended_at")


freezes = st.builds(
    FreezeView,
    id=_perhaps(st.from_regex(r"[0-9a-f]{32}", fullmatch=True)),
    reason=sentences,
    by=_perhaps(people),
    made_at=_perhaps(moments),
    start=moments,
    end=_perhaps(moments),
    environments=st.lists(names, max_size=3).map(tuple),
    flag=_perhaps(names),
    tags=st.lists(names, max_size=3).map(tuple),
)


def acceptances(plan: Plan) -> st.SearchStrategy[AcceptanceView]:
    """Of metrics that the plan guards, and of others."""
    guarded = [rail.metric for stage in plan.stages for rail in stage.guardrails]
    ids = st.from_regex(r"[0-9a-f]{32}", fullmatch=True)
    metrics = st.one_of(st.sampled_from(guarded), names)
    return st.builds(AcceptanceView, ids, metrics, moments, sentences, people, moments)


@st.composite
def checks(draw: st.DrawFn) -> CheckView:
    """A look at a gate of any size."""
    judged = st.tuples(guardrails, verdicts, _perhaps(moments))
    return CheckView(
        id="c",
        at=draw(moments),
        verdict=draw(verdicts),
        guardrails=tuple(draw(st.lists(judged, min_size=1, max_size=12))),
        mixes=tuple(
            draw(st.lists(st.builds(Watched, st.just("regions"), short, st.booleans(), st.booleans()), max_size=2))
        ),
    )
