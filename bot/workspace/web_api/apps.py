"""auth.test, api.test, apps.connections.open, bots.info: the app itself."""

from bot.workspace.errors import Refusal
from bot.workspace.records import Json
from bot.workspace.web_api.calling import Call, Methods

methods = Methods()


@methods("api.test", token="none")  # noqa: S106 - the kind, not a token
def api_test(call: Call) -> Json:
    """Echoes its arguments; fails with `error` if one is given."""
    if call.optional("error"):
        raise Refusal(call.text("error"), extra={"args": call.arguments})
    return {"args": call.arguments}


@methods("auth.test")
def auth_test(call: Call) -> Json:
    """Who the token belongs to."""
    settings = call.workspace.settings
    return {
        "url": f"{call.workspace.base_url}/",
        "team": settings.team_name,
        "user": settings.bot_name,
        "team_id": settings.team_id,
        "user_id": settings.bot_user_id,
        "bot_id": settings.bot_id,
        "is_enterprise_install": False,
    }


@methods("bots.info")
def bots_info(call: Call) -> Json:
    """The app's bot."""
    settings = call.workspace.settings
    if call.optional("bot") not in (None, settings.bot_id):
        raise Refusal("bot_not_found")
    bot = {
        "id": settings.bot_id,
        "deleted": False,
        "name": settings.bot_real_name,
        "app_id": settings.app_id,
        "user_id": settings.bot_user_id,
        "icons": {},
    }
    return {"bot": bot}
