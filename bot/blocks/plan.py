"""A plan as people read it: how it goes on stage by stage, what must hold, and why it is so."""

from collections.abc import Sequence
from datetime import timedelta

from slack_sdk.models.blocks import Block

from bot import texts
from bot.blocks import parts
from bot.blocks.mrkdwn import escape, name
from tools.gates import Direction
from tools.plans.model import Basis, Guardrail, Plan, Source, Stage

MOST_GUARDRAILS = 8
MOST_REASONS = 8
REASON_CHARACTERS = 300
MOST_BASES = 8
BASIS_CHARACTERS = 160

_FIRST = (Source.PERSON, Source.SPEC, Source.POLICY, Source.TELEMETRY, Source.DEFAULT)


def plan_blocks(plan: Plan) -> list[Block]:
    """Strategy and length, the stages as a table, what must hold, and the plan's reasons."""
    blocks = [parts.section(_overview(plan)), _stages(plan)]
    if (common := _common_guardrails(plan)) is not None:
        lines = [f"• {guardrail_sentence(one)}{_absent(one, plan)}{_because(one)}" for one in common]
        everywhere = not any(_absent(one, plan) for one in common)
        head = texts.PLAN_GUARDRAILS if everywhere else texts.PLAN_GUARDRAILS_OF_SOME
        blocks.append(parts.section(head, *_limited(lines, MOST_GUARDRAILS)))
    if bases := _stage_bases(plan):
        blocks.append(parts.context(texts.PLAN_RESTS_ON, *_limited(bases, MOST_BASES)))
    blind = texts.PLAN_BLIND.format(budget=texts.duration(plan.blind_budget))
    blocks.append(parts.context(blind))
    if plan.rationale:
        reasons = _limited([f"• {escape(reason, REASON_CHARACTERS)}" for reason in plan.rationale], MOST_REASONS)
        blocks.append(parts.section(texts.PLAN_WHY, *reasons))
    return blocks


def guardrail_sentence(guardrail: Guardrail) -> str:
    """What a guardrail demands, as mrkdwn."""
    more_is_harm = guardrail.direction is Direction.INCREASE
    sentence = texts.PLAN_GUARDRAIL_AT_MOST if more_is_harm else texts.PLAN_GUARDRAIL_AT_LEAST
    if guardrail.of_split:
        sentence = texts.PLAN_GUARDRAIL_OF_SPLIT
    on_fail = texts.PLAN_ON_FAIL[guardrail.on_fail.value]
    demanded = sentence.format(metric=name(guardrail.metric), margin=f"{guardrail.margin:g}")
    return f"{demanded}{_ceiling(guardrail)} · {on_fail}"


def _because(guardrail: Guardrail) -> str:
    """Whose word the guardrail and its margin are; what was measured stands among the plan's reasons."""
    said = dict.fromkeys(_basis(one) for one in guardrail.basis if one.source is not Source.TELEMETRY)
    return "".join(texts.PLAN_BECAUSE.format(basis=one) for one in said)


def _stage_bases(plan: Plan) -> list[str]:
    """What the stages' numbers rest on, a line for all that share it: people's words and the spec's first."""
    shared = dict[tuple[Source, str], list[tuple[int, Basis]]]()
    for number, stage in enumerate(plan.stages, start=1):
        for basis in stage.basis:
            shared.setdefault((basis.source, basis.text), []).append((number, basis))
    return [_stage_basis(shared[key]) for key in sorted(shared, key=lambda key: _FIRST.index(key[0]))]


def _stage_basis(sharing: Sequence[tuple[int, Basis]]) -> str:
    numbers = dict.fromkeys(str(number) for number, _ in sharing)
    stages = texts.PLAN_STAGE if len(numbers) == 1 else texts.PLAN_SOME_STAGES
    return texts.PLAN_STAGE_BASIS.format(
        stages=stages.format(numbers=", ".join(numbers)),
        facets=", ".join(dict.fromkeys(texts.FACETS[basis.of.value] for _, basis in sharing)),
        basis=_basis(sharing[0][1]),
    )


def _basis(basis: Basis) -> str:
    return texts.BASES[basis.source.value].format(text=escape(basis.text, BASIS_CHARACTERS))


def _overview(plan: Plan) -> str:
    bake = sum((stage.bake for stage in plan.stages), timedelta())
    count = len(plan.stages)
    return texts.PLAN_STRATEGY.format(
        strategy=texts.STRATEGIES[plan.strategy.value],
        control=name(plan.control),
        treatment=name(plan.treatment),
        stages=texts.PLAN_ONE_STAGE if count == 1 else texts.PLAN_STAGES.format(count=count),
        bake=texts.duration(bake),
        every=texts.duration(plan.check_every),
    )


def _stages(plan: Plan) -> Block:
    common = _common_guardrails(plan)
    rows: list[Sequence[str]] = [texts.PLAN_HEADS if common else (*texts.PLAN_HEADS, texts.PLAN_HEAD_GUARDRAILS)]
    for number, stage in enumerate(plan.stages, start=1):
        row = (
            str(number),
            str(stage.exposure),
            texts.duration(stage.bake),
            texts.duration(stage.time_limit),
            texts.count(max(one.min_sample for one in stage.guardrails)),
        )
        rows.append(row if common else (*row, _short_guardrails(stage)))
    return parts.table(rows)


def _common_guardrails(plan: Plan) -> tuple[Guardrail, ...] | None:
    """The plan's guardrails, when those of one metric differ in their samples only; else None."""
    found = dict[str, Guardrail]()
    for rail in (rail for stage in plan.stages for rail in stage.guardrails):
        if _without_sample(found.setdefault(rail.metric, rail)) != _without_sample(rail):
            return None
    return tuple(found.values())


def _without_sample(rail: Guardrail) -> Guardrail:
    return rail.bare.model_copy(update={"min_sample": 1})


def _absent(guardrail: Guardrail, plan: Plan) -> str:
    """In which stages it does not guard."""
    numbers = [
        str(number)
        for number, stage in enumerate(plan.stages, start=1)
        if all(rail.metric != guardrail.metric for rail in stage.guardrails)
    ]
    return texts.PLAN_NOT_IN_STAGE.format(numbers=", ".join(numbers)) if numbers else ""


def _short_guardrails(stage: Stage) -> str:
    return "; ".join(
        _short_sentence(one).format(metric=one.metric, margin=f"{one.margin:g}") for one in stage.guardrails
    )


def _short_sentence(guardrail: Guardrail) -> str:
    if guardrail.of_split:
        return texts.PLAN_GUARDRAIL_SHORT_OF_SPLIT
    if guardrail.direction is Direction.INCREASE:
        return texts.PLAN_GUARDRAIL_SHORT_AT_MOST
    return texts.PLAN_GUARDRAIL_SHORT_AT_LEAST


def _ceiling(guardrail: Guardrail) -> str:
    if guardrail.ceiling is None:
        return ""
    more_is_harm = guardrail.direction is Direction.INCREASE
    sentence = texts.PLAN_CEILING_AT_MOST if more_is_harm else texts.PLAN_CEILING_AT_LEAST
    return sentence.format(ceiling=texts.rate(guardrail.ceiling))


def _limited(lines: Sequence[str], most: int) -> list[str]:
    rest = len(lines) - most
    return [*lines[:most], texts.PLAN_MORE.format(count=rest)] if rest > 0 else list(lines)
