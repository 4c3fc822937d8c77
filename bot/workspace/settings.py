"""What a local workspace consists of before anybody says anything: its team, people, channels, app and tokens."""

from dataclasses import dataclass, field
from typing import Literal

from bot.workspace.manifest import BUNDLED, Manifest, Prompt, Shortcut, SlashCommand

__all__ = [
    "DEFAULT_EVENTS",
    "DEFAULT_PEOPLE",
    "DEFAULT_PROMPTS",
    "DEFAULT_ROOMS",
    "Person",
    "Prompt",
    "Room",
    "Shortcut",
    "SlashCommand",
    "Switch",
    "TourStep",
    "UserGroup",
    "WorkspaceSettings",
]


@dataclass(frozen=True)
class Person:
    """Somebody in the workspace. `id` starts with U, `tz` is an IANA zone; `part` is what they play on the page.

    `guest_of` says into how many channels a guest is let, None for a member; `team_id` is another organisation's whose
    people share a channel with this one.
    """

    id: str
    name: str
    real_name: str
    email: str
    title: str = ""
    tz: str = "Europe/Berlin"
    is_bot: bool = False
    part: str = ""
    guest_of: Literal["one", "many"] | None = None
    team_id: str | None = None


@dataclass(frozen=True)
class Room:
    """A public channel that exists from the start. `id` starts with C."""

    id: str
    name: str
    topic: str = ""
    bot_is_member: bool = True


@dataclass(frozen=True)
class UserGroup:
    """A user group (`@handle`). `id` starts with S; `members` are user ids."""

    id: str
    handle: str
    name: str
    members: tuple[str, ...]


@dataclass(frozen=True)
class Switch:
    """A button of the page beside the conversation: the server POSTs `body` as JSON to `url` when it is pressed."""

    label: str
    url: str
    description: str = ""
    danger: bool = False
    body: dict[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class TourStep:
    """A step of the page's guided tour: what to do, as whom (a user id), where, and how one sees that it is done.

    The page points at `target`, which `name` tells apart: the composer (in which it writes `name`), the button, switch
    or message called so. A step is done when one of the app's messages since the tour began says all of `done`, or when
    a later step is.
    """

    title: str
    text: str
    person: str
    channel: str
    target: Literal["composer", "button", "switch", "message"]
    name: str
    done: tuple[str, ...]


DEFAULT_PEOPLE = (
    Person("UMIRA0001", "mira", "Mira Castellan", "mira@acme.example", "Payments engineer", part="asks"),
    Person("UJONAS001", "jonas", "Jonas Okafor", "jonas@acme.example", "Release manager", part="approves"),
    Person(
        "UAIKO0001",
        "aiko",
        "Aiko Lindqvist",
        "aiko@acme.example",
        "Site reliability",
        tz="Asia/Tokyo",
        part="approves",
    ),
    Person("USAM00001", "sam", "Sam Whitfield", "sam@acme.example", "Product", tz="America/New_York", part="looks on"),
)
DEFAULT_ROOMS = (
    Room("CRELEASES", "releases", "What is going out, and how it is doing"),
    Room("CPAYMENTS", "payments", "The payments team"),
    Room("CALERTS01", "alerts", "Only what needs a person"),
)
DEFAULT_APP: Manifest = BUNDLED
DEFAULT_PROMPTS = DEFAULT_APP.prompts
DEFAULT_EVENTS = DEFAULT_APP.events


@dataclass(frozen=True)
class WorkspaceSettings:
    """Everything that may differ between two workspaces.

    `request_url`: where events, commands and interactions are POSTed; None means Socket Mode.
    `options_url`: where option loads of external selects are POSTed in HTTP mode (default: `request_url`).
    `events`: the app's event subscriptions, named as in an app manifest.
    `shortcuts`, `unfurl_domains`: the app's shortcuts, and the domains (with theirs below) whose links it shows.
    `prompts`: what the manifest suggests in everybody's conversation with the app, until the app suggests other things.
    `tour`: the steps of the page's guided tour, none without one.
    `ack_seconds`: how long the app may take to acknowledge a delivery.
    `retry_delays`: seconds before each redelivery of an event that was not acknowledged.
    `messages_per_second`: the pace of `chat.postMessage` per channel, with bursts of `message_burst`; None: no limit.
    `file_seconds`: how long Slack looks through what was uploaded; until then no block may show it.
    `allowed_hosts`: host names (without port) under which the server may be addressed.
    """

    team_id: str = "TACME0001"
    team_name: str = "Acme"
    team_domain: str = "acme"
    app_id: str = "ASLUICE01"
    bot_id: str = "BSLUICE01"
    bot_user_id: str = "USLUICE01"
    bot_name: str = "sluice"
    bot_real_name: str = "Sluice"
    bot_token: str = field(default="xoxb-local", repr=False)
    app_token: str = field(default="xapp-local", repr=False)
    signing_secret: str = field(default="local-signing-secret", repr=False)
    people: tuple[Person, ...] = DEFAULT_PEOPLE
    rooms: tuple[Room, ...] = DEFAULT_ROOMS
    groups: tuple[UserGroup, ...] = (
        UserGroup("SAPPROVER", "release-approvers", "Release approvers", ("UJONAS001", "UAIKO0001")),
    )
    commands: tuple[SlashCommand, ...] = DEFAULT_APP.commands
    shortcuts: tuple[Shortcut, ...] = DEFAULT_APP.shortcuts
    unfurl_domains: tuple[str, ...] = DEFAULT_APP.unfurl_domains
    events: tuple[str, ...] = DEFAULT_EVENTS
    prompts: tuple[Prompt, ...] = DEFAULT_PROMPTS
    switches: tuple[Switch, ...] = ()
    tour: tuple[TourStep, ...] = ()
    request_url: str | None = None
    options_url: str | None = None
    ack_seconds: float = 3.0
    retry_delays: tuple[float, ...] = (0.0, 60.0, 300.0)
    messages_per_second: float | None = None
    message_burst: int = 5
    file_seconds: float = 0.5
    allowed_hosts: tuple[str, ...] = ("127.0.0.1", "localhost", "[::1]")
