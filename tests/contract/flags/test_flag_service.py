"""What every flag service promises."""

import asyncio

import pytest
from pydantic import ValidationError

from tests.contract.flags.conftest import Subject
from tools.flags.base import FinerThanServed, FlagNotFound, FlagRef, FlagState, FlagVersionConflict, NotSettable
from tools.plans.model import NOT_EXPOSED, PERCENT_STEP, Audience, Exposure, Mode

REF = FlagRef("checkout.new-flow", "production")
HALF = Exposure(percent=50)


async def created(subject: Subject, ref: FlagRef = REF) -> FlagState:
    await subject.create(ref)
    return await subject.service.read(ref)


def able_to(subject: Subject, exposure: Exposure) -> bool:
    """Whether the service says that it can serve such an exposure."""
    able = subject.service.capabilities
    return (able.audiences or exposure.audience.everyone) and (able.shadow or exposure.mode is Mode.LIVE)


async def test_what_is_compared_is_fenced_off_by_every_write(subject: Subject) -> None:
    assert subject.fences or not subject.service.capabilities.compare_and_set


async def test_a_new_flag_is_served_to_nobody(subject: Subject) -> None:
    state = await created(subject)
    assert (state.ref, state.exposure, state.control, state.treatment) == (REF, NOT_EXPOSED, "old", "new")
    assert state.version


@pytest.mark.parametrize(
    "exposure",
    [
        HALF,
        Exposure(percent=100),
        Exposure(percent=0),
        Exposure(percent=0.001),
        Exposure(percent=33.333),
        Exposure(percent=10, mode=Mode.SHADOW),
        Exposure(percent=10, audience=Audience(tenants=("acme", "globex"), regions=("eu",))),
    ],
    ids=str,
)
async def test_what_was_written_is_read_back(subject: Subject, exposure: Exposure) -> None:
    state = await created(subject)
    steps = exposure.percent / subject.service.capabilities.granularity
    if abs(steps - round(steps)) > 1e-6:
        with pytest.raises(FinerThanServed, match="finer than the flag service can serve"):
            await subject.service.write(REF, exposure, expected=state.version)
        assert await subject.service.read(REF) == state
        return
    if not able_to(subject, exposure):
        with pytest.raises(NotSettable, match=str(REF)):
            await subject.service.write(REF, exposure, expected=state.version)
        assert await subject.service.read(REF) == state
        return
    await subject.service.write(REF, exposure, expected=state.version)
    assert (await subject.service.read(REF)).exposure == exposure


async def test_its_finest_step_is_served_as_asked_and_a_finer_one_is_refused(subject: Subject) -> None:
    await created(subject)
    assert subject.service.capabilities.granularity == subject.finest
    for steps in (1, 2, round(100 / subject.finest) - 1):
        exposure = Exposure(percent=round(steps * subject.finest, 3))
        await subject.service.write(REF, exposure, expected=(await subject.service.read(REF)).version)
        assert (await subject.service.read(REF)).exposure == exposure
    before = await subject.service.read(REF)
    for steps in (0.5, 1.5):
        percent = steps * subject.finest
        if subject.finest == PERCENT_STEP:
            with pytest.raises(ValidationError, match="multiple of"):
                Exposure(percent=percent)
            continue
        with pytest.raises(FinerThanServed, match="finer than the flag service can serve"):
            await subject.service.write(REF, Exposure(percent=percent), expected=before.version)
    assert await subject.service.read(REF) == before


async def test_any_exposure_follows_any_other(subject: Subject) -> None:
    await created(subject)
    audience = Audience(tenants=("acme",))
    for exposure in (
        Exposure(percent=10, mode=Mode.SHADOW),
        Exposure(percent=5, audience=audience),
        Exposure(percent=0, audience=audience),
        HALF,
        NOT_EXPOSED,
        Exposure(percent=100, mode=Mode.SHADOW, audience=audience),
        Exposure(percent=1),
    ):
        if not able_to(subject, exposure):
            continue
        before = await subject.service.read(REF)
        await subject.service.write(REF, exposure, expected=before.version)
        after = await subject.service.read(REF)
        assert (after.exposure, after.control, after.treatment, after.obstacle) == (exposure, "old", "new", "")


async def test_every_write_makes_a_new_version(subject: Subject) -> None:
    versions = [(await created(subject)).version]
    for number in range(5):
        exposure = HALF if subject.fences else Exposure(percent=50 + number)
        await subject.service.write(REF, exposure, expected=versions[-1])
        versions.append((await subject.service.read(REF)).version)
    assert len(set(versions)) == 6


async def test_reading_makes_no_new_version(subject: Subject) -> None:
    state = await created(subject)
    await subject.service.list(REF.environment)
    assert await subject.service.read(REF) == state


async def test_a_write_prepared_before_another_is_refused(subject: Subject) -> None:
    before = await created(subject)
    await subject.service.write(REF, NOT_EXPOSED if subject.fences else Exposure(percent=5), expected=before.version)
    fenced = await subject.service.read(REF)
    if not subject.compares:
        await subject.service.write(REF, HALF, expected=before.version)
        assert (await subject.service.read(REF)).exposure == HALF
        return
    with pytest.raises(FlagVersionConflict, match=r"checkout\.new-flow in production"):
        await subject.service.write(REF, HALF, expected=before.version)
    assert await subject.service.read(REF) == fenced


async def test_what_a_person_took_back_is_not_raised_by_a_write_prepared_before(subject: Subject) -> None:
    await subject.service.write(REF, Exposure(percent=10), expected=(await created(subject)).version)
    seen = await subject.service.read(REF)
    await subject.service.write(REF, NOT_EXPOSED, expected=seen.version)
    if not subject.compares:
        await subject.service.write(REF, HALF, expected=seen.version)
        return
    with pytest.raises(FlagVersionConflict, match="read it again before writing"):
        await subject.service.write(REF, HALF, expected=seen.version)
    assert (await subject.service.read(REF)).exposure == NOT_EXPOSED


async def test_nothing_at_all_is_refused_only_where_it_fences(subject: Subject) -> None:
    before = await created(subject)
    await subject.service.write(REF, HALF, expected=before.version)
    if subject.service.capabilities.compare_and_set:
        with pytest.raises(FlagVersionConflict):
            await subject.service.write(REF, NOT_EXPOSED, expected=before.version)
        return
    await subject.service.write(REF, NOT_EXPOSED, expected=before.version)
    assert (await subject.service.read(REF)).exposure == NOT_EXPOSED


@pytest.mark.parametrize("expected", ["", "0", "none", "-1", "01", "1.0", "9" * 40, "1 OR 1=1"])
async def test_a_version_that_never_was_is_refused(subject: Subject, expected: str) -> None:
    state = await created(subject)
    if subject.compares:
        with pytest.raises(FlagVersionConflict):
            await subject.service.write(REF, HALF, expected=expected)
        assert await subject.service.read(REF) == state


async def test_of_concurrent_writes_one_wins(subject: Subject) -> None:
    state = await created(subject)
    writes = [subject.service.write(REF, Exposure(percent=percent), expected=state.version) for percent in range(1, 51)]
    results = await asyncio.gather(*writes, return_exceptions=True)
    final = (await subject.service.read(REF)).exposure.percent
    winners = [percent for percent, result in enumerate(results, start=1) if result is None]
    if subject.compares:
        assert winners == [final]
        assert [type(result) for result in results if result is not None] == [FlagVersionConflict] * 49
    else:
        assert winners == list(range(1, 51))
        assert final in winners


async def test_environments_are_apart(subject: Subject) -> None:
    state = await created(subject)
    staging = await created(subject, FlagRef(REF.flag, "staging"))
    await subject.service.write(staging.ref, HALF, expected=staging.version)
    assert await subject.service.read(REF) == state


async def test_lists_an_environment_by_name(subject: Subject) -> None:
    for flag in ("search", "Banner", "checkout", "a.b", "a-b"):
        await subject.create(FlagRef(flag, "production"))
    await subject.create(FlagRef("elsewhere", "staging"))
    listed = await subject.service.list("production")
    elsewhere = ["elsewhere"] if subject.everywhere else []
    assert [state.ref.flag for state in listed] == ["Banner", "a-b", "a.b", "checkout", *elsewhere, "search"]
    assert listed[-1] == await subject.service.read(FlagRef("search", "production"))


async def test_a_flag_that_is_deleted_while_listing_takes_no_other_with_it(subject: Subject) -> None:
    for flag in ("banner", "checkout", "search"):
        await subject.create(FlagRef(flag, "production"))
    if subject.delete_once_told is not None:
        subject.delete_once_told("checkout")
    listed = {state.ref.flag for state in await subject.service.list("production")}
    assert listed - {"checkout"} == {"banner", "search"}


async def test_an_environment_without_flags_is_empty(subject: Subject) -> None:
    assert list(await subject.service.list("nowhere")) == []


@pytest.mark.parametrize("ref", [FlagRef("chekout", "production"), FlagRef(REF.flag, "nowhere")], ids=str)
async def test_an_unknown_flag_is_named(subject: Subject, ref: FlagRef) -> None:
    await created(subject)
    with pytest.raises(FlagNotFound, match=str(ref)):
        await subject.service.read(ref)
    with pytest.raises(FlagNotFound, match=str(ref)):
        await subject.service.write(ref, HALF, expected="1")


async def test_says_what_it_can(subject: Subject) -> None:
    capabilities = subject.service.capabilities
    assert 0 < capabilities.granularity <= 100
    assert capabilities.late_write_window.total_seconds() > 0
    assert capabilities.read_back_delay.total_seconds() >= 0


async def test_can_be_reached(subject: Subject) -> None:
    await subject.service.check()
