"""A Slack workspace on this machine, for the demo and the tests.

The unmodified slack_sdk and slack_bolt talk to it over HTTP and WebSocket. It knows nothing of what the app does.
"""

from bot.workspace.server import RunningWorkspace, build_workspace, running_workspace
from bot.workspace.settings import (
    Person,
    Room,
    Shortcut,
    SlashCommand,
    Switch,
    TourStep,
    UserGroup,
    WorkspaceSettings,
)
from bot.workspace.state import Workspace

__all__ = [
    "Person",
    "Room",
    "RunningWorkspace",
    "Shortcut",
    "SlashCommand",
    "Switch",
    "TourStep",
    "UserGroup",
    "Workspace",
    "WorkspaceSettings",
    "build_workspace",
    "running_workspace",
]
