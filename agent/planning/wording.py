"""What a model is told before it sketches, and after a sketch did not pass. Pure."""

from collections.abc import Iterable, Mapping

from agent import prompts
from agent.model import ModelOptions
from agent.planning.drawing import Frame
from agent.planning.facts import Facts
from agent.planning.sentences import Evidence, percents_named, sentences, spec_sentences
from agent.planning.sketch import Choices
from agent.redaction import redacted
from tools.plans.model import Facet, Plan, Source, Strategy
from tools.plans.planner import Draft
from tools.plans.sizing import Rail

LONGEST_FAULTS = 1500
LONGEST_NOTE = 400
PROMPTS = ("planning", "planning_facts", "repair")


def evidence_of(facts: Facts, calculated: Draft) -> Evidence:
    """Everything that a plan of these facts may rest on, without secrets."""
    return Evidence(
        spec=spec_sentences(redacted(facts.spec.visible)) if facts.spec is not None else (),
        telemetry=tuple(dict.fromkeys((*_telemetry(calculated), *facts.circumstances))),
        person=sentences(redacted(facts.request.wishes)),
    )


def instructions() -> str:
    """What is the same for every plan, and so may be kept in a server's cache."""
    return prompts.load("planning").text


def question(frame: Frame, choices: Choices, titles: Mapping[str, str]) -> str:
    """The facts of one plan; `titles` has what each metric of the catalogue measures, by its name."""
    facts, evidence = frame.facts, frame.evidence
    others = {name: title for name, title in titles.items() if name not in frame.rails}
    blocks = [
        prompts.as_data("flag", {"flag": facts.feature.flag, "tags": facts.feature.tags}),
        *(
            prompts.as_data(source.value, said)
            for source in (Source.SPEC, Source.TELEMETRY)
            if (said := evidence.shown(source))
        ),
        *([prompts.as_data("other metrics", others)] if others else []),
    ]
    return prompts.load("planning_facts").fill(
        evidence="\n".join(blocks),
        limits="\n".join(f"- {limit}" for limit in _limits(frame, choices)),
        usual=_usual(frame),
        person=_person(evidence),
    )


def repair(faults: str) -> str:
    """What is said of a sketch that did not pass."""
    return prompts.load("repair").fill(faults=redacted(faults)[:LONGEST_FAULTS])


def prompt_version() -> str:
    """The versions of the prompts that a plan is made of."""
    return prompts.version(*(prompts.load(name) for name in PROMPTS))


def not_passed(faults: str) -> str:
    """The note of a plan whose sketch never passed."""
    short = faults if len(faults) <= LONGEST_NOTE else faults[: LONGEST_NOTE - 1] + "…"
    return f"The model's draft didn't pass ({short.rstrip('.')}), so this is the calculators' plan."


def not_answered(why: str) -> str:
    """The note of a plan for which no sketch came."""
    return f"{why.rstrip('.')}, so this is the calculators' plan."


def sketched(options: ModelOptions) -> str:
    """The note of a plan that a model sketched."""
    return f"A model ({options.name}) chose the stages and the reasons; lengths, samples and limits are computed."


def unheard(wishes: str, plan: Plan) -> tuple[str, ...]:
    """What the person's words name and the plan does not have: nobody is to believe that it was heard."""
    stages = {stage.exposure.percent for stage in plan.stages}
    missing = [f"{percent:g} %" for percent in percents_named(wishes) if percent not in stages]
    if not missing:
        return ()
    return (f"No stage is at {' or '.join(missing)}, which you named; if you want one, ask for that change.",)


def _telemetry(calculated: Draft) -> Iterable[str]:
    yield from calculated.plan.rationale
    # The first two tell how long proofs take here; more would only make the question longer.
    for stage in calculated.plan.stages[:2]:
        for basis in stage.basis:
            if basis.source is Source.TELEMETRY and basis.of is Facet.LIMIT:
                yield f"At {stage.exposure} {basis.text}."
            elif basis.source is Source.TELEMETRY:
                yield f"{basis.text[:1].upper()}{basis.text[1:]}."


def _limits(frame: Frame, choices: Choices) -> Iterable[str]:
    hold, _ = frame.hold
    yield f"strategy: {' or '.join(choices.strategies)}"
    if choices.strategies == (Strategy.FULL,):
        yield 'stages: [{"percent": 100, "because": …}]'
        return
    yield f"first stage at most {frame.first:g} %, unless the person names a larger one"
    yield f"no step larger than {frame.widest:g} points; the last stage is {frame.last:g} %"
    hours = f"{hold.total_seconds() / 3600:.3g}"
    yield f"each stage is held at least {hours} h; leave hold_hours out for that"
    yield "margins: " + ", ".join(_margin(rail) for rail in frame.rails.values())
    if choices.audiences:
        yield "first_regions, first_tenants, limited_stages: only names that the spec or the person gives"


def _margin(rail: Rail) -> str:
    return f"{rail.baseline.metric} at most {rail.margin:g}"


def _usual(frame: Frame) -> str:
    return ", ".join(f"{stage.exposure.percent:g} %" for stage in frame.live)


def _person(evidence: Evidence) -> str:
    """What the person says, last: what comes last is minded most."""
    said = evidence.shown(Source.PERSON)
    return f"The person says\n{prompts.as_data(Source.PERSON.value, said)}\n" if said else ""
