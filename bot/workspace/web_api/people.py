"""users.* and usergroups.*: who is here."""

from bot.workspace.errors import Refusal
from bot.workspace.records import Json
from bot.workspace.settings import UserGroup
from bot.workspace.web_api.calling import Call, Methods
from bot.workspace.web_api.paging import page_of

methods = Methods()


@methods("users.info")
def info(call: Call) -> Json:
    """One member."""
    workspace = call.workspace
    return {"user": workspace.user_json(workspace.user(call.text("user")))}


@methods("users.list")
def list_users(call: Call) -> Json:
    """Every member."""
    workspace = call.workspace
    return page_of(call, "members", [workspace.user_json(person) for person in workspace.users.values()])


@methods("users.lookupByEmail")
def lookup_by_email(call: Call) -> Json:
    """The member with an e-mail address."""
    workspace, email = call.workspace, call.text("email").lower()
    for person in workspace.users.values():
        if person.email and person.email.lower() == email:
            return {"user": workspace.user_json(person)}
    raise Refusal("users_not_found")


@methods("usergroups.list")
def list_groups(call: Call) -> Json:
    """Every user group, with its members when `include_users` is set."""
    team = call.workspace.settings.team_id
    groups = call.workspace.groups.values()
    return {"usergroups": [_group_json(group, team, with_users=call.flag("include_users")) for group in groups]}


@methods("usergroups.users.list")
def list_group_users(call: Call) -> Json:
    """The ids of a user group's members."""
    group = call.workspace.groups.get(call.text("usergroup"))
    if group is None:
        raise Refusal("no_such_subteam")
    return {"users": list(group.members)}


def _group_json(group: UserGroup, team_id: str, *, with_users: bool) -> Json:
    body: Json = {
        "id": group.id,
        "team_id": team_id,
        "is_usergroup": True,
        "name": group.name,
        "handle": group.handle,
        "user_count": len(group.members),
        "date_delete": 0,
    }
    return {**body, "users": list(group.members)} if with_users else body
