"""What a local workspace consists of before anybody says anything: its team, people, channels, app and tokens."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Person:
    """A member of the workspace. `id` starts with U, `tz` is an IANA zone name."""

    id: str
    name: str
    real_name: str
    email: str
    title: str = ""
    tz: str = "Europe/Berlin"
    is_bot: bool = False


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
class SlashCommand:
    """A command that the app registered, with the slash."""

    name: str
    description: str = ""
    usage_hint: str = ""


@dataclass(frozen=True)
class Prompt:
    """A button in the conversation with the app, and what a person says by pressing it."""

    title: str
    message: str


@dataclass(frozen=True)
class Switch:
    """A button of the page beside the conversation: the server POSTs `body` as JSON to `url` when it is pressed."""

    label: str
    url: str
    description: str = ""
    danger: bool = False
    body: dict[str, object] = field(default_factory=dict)


DEFAULT_PEOPLE = (
    Person("UMIRA0001", "mira", "Mira Castellan", "mira@acme.example", "Payments engineer"),
    Person("UJONAS001", "jonas", "Jonas Okafor", "jonas@acme.example", "Release manager"),
    Person("UAIKO0001", "aiko", "Aiko Lindqvist", "aiko@acme.example", "Site reliability", tz="Asia/Tokyo"),
    Person("USAM00001", "sam", "Sam Whitfield", "sam@acme.example", "Product", tz="America/New_York"),
)
DEFAULT_ROOMS = (
    Room("CRELEASES", "releases", "What is going out, and how it is doing"),
    Room("CPAYMENTS", "payments", "The payments team"),
    Room("CALERTS01", "alerts", "Only what needs a person"),
)
DEFAULT_PROMPTS = (
    Prompt("What is rolling out?", "What is rolling out right now?"),
    Prompt("What can you do?", "What can you do?"),
)
DEFAULT_EVENTS = ("app_mention", "app_home_opened", "message.channels", "message.im", "reaction_added")


@dataclass(frozen=True)
class WorkspaceSettings:
    """Everything that may differ between two workspaces.

    `request_url`: where events, commands and interactions are POSTed; None means Socket Mode.
    `options_url`: where option loads of external selects are POSTed in HTTP mode (default: `request_url`).
    `events`: the app's event subscriptions, named as in an app manifest.
    `prompts`: what the manifest suggests in everybody's conversation with the app, until the app suggests other things.
    `ack_seconds`: how long the app may take to acknowledge a delivery.
    `retry_delays`: seconds before each redelivery of an event that was not acknowledged.
    `messages_per_second`: the pace of `chat.postMessage` per channel, with bursts of `message_burst`; None: no limit.
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
    commands: tuple[SlashCommand, ...] = (SlashCommand("/rollout", "Ramp a feature flag", "help"),)
    events: tuple[str, ...] = DEFAULT_EVENTS
    prompts: tuple[Prompt, ...] = DEFAULT_PROMPTS
    switches: tuple[Switch, ...] = ()
    request_url: str | None = None
    options_url: str | None = None
    ack_seconds: float = 3.0
    retry_delays: tuple[float, ...] = (0.0, 60.0, 300.0)
    messages_per_second: float | None = None
    message_burst: int = 5
    allowed_hosts: tuple[str, ...] = ("127.0.0.1", "localhost", "[::1]")
