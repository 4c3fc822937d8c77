"""Who is in the groups that policy names, read at the moment when somebody asks or answers."""

from collections.abc import Collection, Iterable, Sequence

import structlog

from tools.errors import NotAllowed
from tools.people.base import PeopleUnavailable, UnknownGroup
from tools.plans import policy as policies
from tools.plans.model import Plan
from tools.plans.policy import Members
from tools.rollouts.door import admission
from tools.rollouts.door.context import Context

GROUP_NOT_READ = "approvals.group_not_read"

logger = structlog.get_logger(__name__)


async def about(context: Context, plan: Plan, workspace: str, person: str, voters: Collection[str] = ()) -> Members:
    """The groups of the plan's rule, as far as it takes to tell whether the person is in one of them; `voters` too.

    Nobody is asked about who is named. Of voters it is also said who of them can't approve any more, being no member.
    Raises PeopleUnavailable, UnknownGroup where the person is in no other group.
    """
    rule = policies.rule_of(context.policy.of(workspace), plan)
    names = (*rule.approvers, *rule.backup)
    asked = frozenset(voters) - frozenset(names)
    if person in rule.approvers and not asked:
        found = policies.NOT_READ
    else:
        found = await among(context, names, workspace, person, asked, named=person in rule.approvers)
    return {**found, policies.STRANGERS: await _strangers(context, voters)} if voters else found


async def among(
    context: Context,
    names: Iterable[str],
    workspace: str,
    person: str,
    voters: Collection[str] = (),
    *,
    named: bool = False,
) -> Members:
    """The groups among the names, as far as it takes to find the person in one, unless `named`, and the voters.

    Raises as `about`. A voter is in no group that is gone.
    """
    missing = set(voters) if named else {person, *voters}
    found, unknown = dict[str, frozenset[str]](), list[UnknownGroup]()
    for group in filter(policies.is_group, dict.fromkeys(names)):
        try:
            found[group] = await context.people.members(group, workspace=workspace)
        except UnknownGroup as error:
            found[group] = frozenset()
            unknown.append(error)
        except PeopleUnavailable as error:
            raise _not_counted(error) from error
        missing -= found[group]
        if not missing:
            return found
    if unknown and person in missing:
        raise unknown[0]
    return found


async def _strangers(context: Context, voters: Collection[str]) -> frozenset[str]:
    """Those who voted and are no members of the workspace any more. Raises PeopleUnavailable."""
    found = set[str]()
    for voter in voters:
        try:
            await admission.check(context, voter)
        except NotAllowed:
            found.add(voter)
        except PeopleUnavailable as error:
            raise _not_counted(error) from error
    return frozenset(found)


def _not_counted(error: PeopleUnavailable) -> PeopleUnavailable:
    return PeopleUnavailable(f"{error} Your answer was not counted, and nothing is lost.")


async def known(context: Context, plan: Plan, workspace: str) -> Members:
    """The groups of the plan's rule; none of them when nobody can say now who is in one."""
    try:
        return await of_all(context, policies.rule_of(context.policy.of(workspace), plan).approvers, workspace)
    except PeopleUnavailable as error:
        # It is only to find out early that too few could answer: an answer is what is checked strictly.
        logger.warning(GROUP_NOT_READ, reason=str(error))
        return policies.NOT_READ


async def of_all(context: Context, names: Sequence[str], workspace: str) -> Members:
    """The members of the groups among the names that there are, and who of all can't approve, as far as that is known.

    Raises PeopleUnavailable.
    """
    found = dict[str, frozenset[str]]()
    for group in filter(policies.is_group, dict.fromkeys(names)):
        try:
            found[group] = await context.people.members(group, workspace=workspace)
        except UnknownGroup as error:
            logger.warning(GROUP_NOT_READ, reason=str(error))
    asked = [one for one in policies.people_in(names, found) if policies.must_be_member(context.policy, one)]
    found[policies.STRANGERS] = await context.people.strangers(asked, workspace=workspace)
    return found
