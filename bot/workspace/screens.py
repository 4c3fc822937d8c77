"""What is on whose screen, in memory: modals, three at most on top of each other, and everybody's Home tab.

Every change is published to the feed, for the page. Nothing here waits.
"""

import secrets
from collections.abc import Callable
from copy import deepcopy

from bot.workspace.errors import Refusal
from bot.workspace.feed import Feed
from bot.workspace.inputs import name_blocks
from bot.workspace.records import Json, View
from bot.workspace.settings import WorkspaceSettings
from tools.clock import Clock

MAX_MODAL_STACK = 3


class Screens:
    """The views of one workspace; `next_id` gives each its id."""

    def __init__(self, settings: WorkspaceSettings, feed: Feed, clock: Clock, next_id: Callable[[], str]) -> None:
        self._settings = settings
        self._feed = feed
        self._clock = clock
        self._next_id = next_id
        self.views: dict[str, View] = {}
        self.modals: dict[str, list[str]] = {}
        self.homes: dict[str, View] = {}

    def view_json(self, view: View, values: Json | None = None) -> Json:
        """The view object (a copy)."""
        settings = self._settings
        return deepcopy(
            view.as_json(team_id=settings.team_id, app_id=settings.app_id, bot_id=settings.bot_id, values=values)
        )

    def open_view(self, user: str, given: Json) -> View:
        """Put a modal on `user`'s screen in place of any other."""
        for view_id in self.modals.pop(user, []):
            del self.views[view_id]
        return self._stack_view(user, given)

    def push_view(self, user: str, given: Json) -> View:
        """Put a modal on top of `user`'s modals, three at most."""
        if not self.modals.get(user):
            raise Refusal("not_found")
        if len(self.modals[user]) >= MAX_MODAL_STACK:
            raise Refusal("push_limit_reached")
        return self._stack_view(user, given)

    def _stack_view(self, user: str, given: Json) -> View:
        self._claim_external_id(given)
        name_blocks(given["blocks"])
        stack = self.modals.setdefault(user, [])
        view_id = self._next_id()
        root = stack[0] if stack else view_id
        view = View(view_id, user, given, self._view_hash(), root, stack[-1] if stack else None)
        self.views[view_id] = view
        stack.append(view_id)
        self._publish_modals(user)
        return view

    def update_view(self, view: View, given: Json, expected_hash: str | None = None) -> View:
        """Replace what a view shows. Raises `Refusal` with hash_conflict when it changed since `expected_hash`."""
        if expected_hash is not None and expected_hash != view.hash:
            raise Refusal("hash_conflict")
        if given.get("external_id") != view.given.get("external_id"):
            self._claim_external_id(given)
        name_blocks(given["blocks"])
        view.given = given
        view.hash = self._view_hash()
        if view.type == "home":
            self._feed.publish("home", {"user": view.user, "view": self.view_json(view)})
        else:
            self._publish_modals(view.user)
        return view

    def publish_home(self, user: str, given: Json, expected_hash: str | None = None) -> View:
        """Set `user`'s Home tab."""
        view = self.homes.get(user)
        if view is not None:
            return self.update_view(view, given, expected_hash)
        self._claim_external_id(given)
        name_blocks(given["blocks"])
        view_id = self._next_id()
        view = View(view_id, user, given, self._view_hash(), view_id)
        self.views[view_id] = self.homes[user] = view
        self._feed.publish("home", {"user": user, "view": self.view_json(view)})
        return view

    def find_view(self, *, view_id: str | None = None, external_id: str | None = None) -> View:
        """A view that is on a screen, by either id. Raises `Refusal` with not_found."""
        for view in self.views.values():
            if view.id == view_id or (external_id and view.given.get("external_id") == external_id):
                return view
        raise Refusal("not_found")

    def close_views(self, user: str, *, everything: bool = False) -> list[View]:
        """Take the top modal (or all) off `user`'s screen; returns those taken, top first."""
        stack = self.modals.get(user, [])
        count = len(stack) if everything else min(1, len(stack))
        closed = [self.views.pop(stack.pop()) for _ in range(count)]
        self._publish_modals(user)
        return closed

    def close_view(self, view: View) -> None:
        """Take one modal off its stack; nothing happens when it is gone already."""
        stack = self.modals.get(view.user, [])
        if view.id in stack:
            stack.remove(view.id)
            del self.views[view.id]
            self._publish_modals(view.user)

    def modal_stack(self, user: str) -> list[View]:
        """`user`'s modals, top last."""
        return [self.views[view_id] for view_id in self.modals.get(user, [])]

    def _publish_modals(self, user: str) -> None:
        views = [self.view_json(view) for view in self.modal_stack(user)]
        self._feed.publish("modals", {"user": user, "views": views})

    def _claim_external_id(self, given: Json) -> None:
        external_id = given.get("external_id")
        if external_id and any(view.given.get("external_id") == external_id for view in self.views.values()):
            raise Refusal("duplicate_external_id")

    def _view_hash(self) -> str:
        return f"{int(self._clock.now().timestamp())}.{secrets.token_hex(4)}"
