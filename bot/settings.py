"""One tree of settings: defaults, then `sluice.toml`, then `SLUICE_*` variables.

A key `section.name` of the file is the variable `SLUICE_SECTION_NAME`; deeper keys are joined by two underscores, as in
`SLUICE_SOURCES__SHOP__URL`. `load_settings` is the only reader of either; making a `Settings` reads nothing.
"""

import re
import tomllib
from collections.abc import Iterable, Mapping
from datetime import time, timedelta
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cryptography.fernet import Fernet
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from agent.model import ModelOptions
from bot.quiet import EVERY_DAY, QuietHours
from bot.settings_sources import Variables, dotted, explain, merged
from tools.errors import ConfigurationError
from tools.flags.files.options import FlagdOptions, GoFeatureFlagOptions
from tools.flags.flagsmith.options import FlagsmithOptions
from tools.flags.growthbook.options import GrowthBookOptions
from tools.flags.launchdarkly.options import LaunchDarklyOptions
from tools.flags.unleash.options import UnleashOptions
from tools.metrics.catalogue import Catalogue, MetricDefinition
from tools.metrics.conventions import TranslationStrategy, filled_in
from tools.metrics.http_api import Access
from tools.metrics.routes import each_route
from tools.plans.defaults import PlanningDefaults
from tools.plans.model import Name
from tools.plans.policy import ApprovalRule, Approving, Policy, is_among
from tools.records.database import parse_url
from tools.specs.options import SpecSourceOptions

DEFAULT_FILE = Path("sluice.toml")
FILE_VARIABLE = "SLUICE_CONFIG"
EVERY_ADDRESS = "0.0.0.0"  # noqa: S104 - a platform's router is on another address

WorkspaceId = Annotated[str, Field(pattern=r"^[TE][A-Z0-9]{2,20}$")]
SLACK_APPROVER = re.compile(r"[UWS][A-Z0-9]{2,20}")

SECONDS_IN = {"ms": 0.001, "s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400}


def parse_duration(value: object) -> object:
    """Seconds as a number, or text such as `90s`, `10m`, `24h`, `7d`; anything else is left to pydantic."""
    if not isinstance(value, str):
        return value
    number = value.strip().rstrip("abcdefghijklmnopqrstuvwxyz").strip()
    unit = value.strip()[len(number) :].strip() or "s"
    try:
        return timedelta(seconds=float(number) * SECONDS_IN[unit])
    except (ValueError, KeyError, OverflowError):
        return value


Span = Annotated[timedelta, BeforeValidator(parse_duration), Field(gt=timedelta(0), le=timedelta(days=365))]
Pause = Annotated[timedelta, BeforeValidator(parse_duration), Field(ge=timedelta(0), le=timedelta(days=365))]


class Section(BaseModel):
    """Base of every part: immutable, and strict about what it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class DatabaseSettings(Section):
    """Where the records are: `sqlite:///sluice.db` or `postgresql://user:password@host/name`.

    `keep_checks` is how long after a rollout's end all its gate checks are kept; those that were acted on always are.
    """

    url: SecretStr = SecretStr("sqlite:///sluice.db")
    keep_checks: Span = timedelta(days=180)

    @field_validator("url")
    @classmethod
    def _usable(cls, url: SecretStr) -> SecretStr:
        try:
            parse_url(url.get_secret_value())
        except ConfigurationError as error:
            raise ValueError(str(error)) from None
        return url


Weekday = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
WEEKDAYS: tuple[Weekday, ...] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


class QuietSettings(Section):
    """A channel's quiet hours, from `from` to `to` by the clocks of `zone`; `days` are those on which they begin."""

    start: Annotated[time, Field(alias="from")]
    to: time
    zone: str = "UTC"
    days: Annotated[tuple[Weekday, ...], Field(min_length=1)] = WEEKDAYS

    @field_validator("zone")
    @classmethod
    def _known(cls, zone: str) -> str:
        try:
            ZoneInfo(zone)
        except (ZoneInfoNotFoundError, ValueError):
            raise ValueError("name a time zone as Europe/Berlin or UTC") from None
        return zone

    @property
    def hours(self) -> QuietHours:
        """The same, to ask when they are over."""
        days = frozenset(map(WEEKDAYS.index, self.days)) or EVERY_DAY
        return QuietHours(self.start, self.to, self.zone, days)


class RouteSettings(Section):
    """Where alerts about some flags go, and the cards of rollouts that no channel asked for.

    Without an environment it is meant for every one, without tags for every flag, else for those with one of the tags.
    """

    environment: Name | None = None
    tags: tuple[Name, ...] = ()
    channel: Annotated[str, Field(min_length=1)]
    quiet: QuietSettings | None = None

    def holds(self, environment: str, tags: Iterable[str]) -> bool:
        """Whether it is meant for a flag with those tags there."""
        named = {tag.casefold() for tag in self.tags}
        there = self.environment is None or is_among(environment, [self.environment])
        return there and (not named or any(tag.casefold() in named for tag in tags))


Routes = Annotated[tuple[RouteSettings, ...], Field(max_length=100)]


class WorkspaceSettings(Section):
    """The channels of one of many workspaces, where they are called differently in it."""

    releases_channel: Annotated[str, Field(min_length=1)] | None = None
    alerts_channel: Annotated[str, Field(min_length=1)] | None = None
    route: Routes | None = None


class SlackSettings(Section):
    """The Slack app's tokens, and the channels: `releases_channel` takes rollouts that no channel asked for.

    Of `route` the first that is meant for a flag says where its alerts go instead of `alerts_channel`.
    With `direct_messages`, who can answer a question is told of it by direct message too; with `charts`, cards have a
    picture of how the gate went. `client_id` and `client_secret` let many workspaces install the app by OAuth, instead
    of one by its `bot_token`; only `allowed_workspaces` may, and `workspaces` says by a workspace's id what is
    different in it. `connections` is how many Socket Mode has.
    """

    bot_token: SecretStr | None = None
    app_token: SecretStr | None = None
    signing_secret: SecretStr | None = None
    api_url: str = "https://slack.com/api/"
    releases_channel: Annotated[str, Field(min_length=1)] | None = None
    alerts_channel: Annotated[str, Field(min_length=1)] | None = None
    route: Routes = ()
    direct_messages: bool = True
    charts: bool = True
    client_id: Annotated[str, Field(min_length=1)] | None = None
    client_secret: SecretStr | None = None
    allowed_workspaces: tuple[WorkspaceId, ...] = ()
    connections: Annotated[int, Field(ge=1, le=10)] = 2
    workspaces: dict[WorkspaceId, WorkspaceSettings] = Field(default_factory=dict)

    @property
    def many_workspaces(self) -> bool:
        """Whether workspaces install the app by OAuth."""
        return self.client_id is not None

    def of(self, workspace: str) -> Self:
        """The same for one workspace."""
        own = self.workspaces.get(workspace)
        named = {} if own is None else {name: getattr(own, name) for name in WorkspaceSettings.model_fields}
        return self.model_copy(update={name: value for name, value in named.items() if value is not None})

    @field_validator("api_url")
    @classmethod
    def _usable(cls, url: str) -> str:
        if not url.startswith(("https://", "http://")):
            raise ValueError("write an address that starts with https:// or http://")
        return url.rstrip("/") + "/"


class HttpSettings(Section):
    """Where Sluice listens: Slack over HTTP, flag evaluation, health. `public_url` is where others reach that."""

    host: Annotated[str, Field(min_length=1)] = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8080
    public_url: str | None = None

    @field_validator("public_url")
    @classmethod
    def _reachable(cls, url: str | None) -> str | None:
        if url is None:
            return None
        if not url.startswith("https://"):
            raise ValueError("write the address at which Slack and browsers reach Sluice; it starts with https://")
        return url.rstrip("/")


class SourceSettings(Section):
    """A metric source. `url` is its database's or server's; `timeout` bounds each query.

    A server may ask for a `token`, or for one in a file that is read anew for each query; `ca_file` has the
    certificates of who signed its own. The rest is for some types: Datadog's site and second key, New Relic's region
    and account, InfluxDB's database and retention policy, Prometheus's `translation_strategy`, by which templates know
    what it calls OpenTelemetry's names.
    """

    type: str = "sql"
    url: SecretStr | None = None
    timeout: Span = timedelta(seconds=10)
    token: SecretStr | None = None
    token_file: Path | None = None
    ca_file: Path | None = None
    application_key: SecretStr | None = None
    application_key_file: Path | None = None
    site: str | None = None
    region: str | None = None
    account: int | None = None
    database: str | None = None
    retention: str | None = None
    translation_strategy: TranslationStrategy | None = None

    @property
    def access(self) -> Access:
        """The same, with what is secret in the open."""
        plain = {name: getattr(self, name) for name in type(self).model_fields if name != "type"}
        opened = {name: one.get_secret_value() for name, one in plain.items() if isinstance(one, SecretStr)}
        return Access(**plain | opened)


class UnleashSettings(UnleashOptions):
    """How Unleash is reached, with durations as people write them."""

    sdk_refresh: Pause = timedelta(seconds=15)
    late_writes: Span = timedelta(seconds=60)


class FlagdSettings(FlagdOptions):
    """The files of flagd's flags, with durations as people write them."""

    sdk_refresh: Pause = timedelta(seconds=5)


class GoFeatureFlagSettings(GoFeatureFlagOptions):
    """The files of GO Feature Flag's flags, with durations as people write them."""

    sdk_refresh: Pause = timedelta(minutes=1)


class FlagsmithSettings(FlagsmithOptions):
    """How Flagsmith is reached, with durations as people write them."""

    sdk_refresh: Pause = timedelta(seconds=60)


class GrowthBookSettings(GrowthBookOptions):
    """How GrowthBook is reached, with durations as people write them."""

    sdk_refresh: Pause = timedelta(seconds=60)


class LaunchDarklySettings(LaunchDarklyOptions):
    """How LaunchDarkly is reached, with durations as people write them."""

    sdk_refresh: Pause = timedelta(seconds=5)


class FlagSettings(Section):
    """The flag service; `timeout` bounds each of its calls. Each service has a table of its own for the rest."""

    type: str = "embedded"
    timeout: Span = timedelta(seconds=10)
    unleash: UnleashSettings = UnleashSettings()
    flagd: FlagdSettings = FlagdSettings()
    gofeatureflag: GoFeatureFlagSettings = GoFeatureFlagSettings()
    flagsmith: FlagsmithSettings = FlagsmithSettings()
    growthbook: GrowthBookSettings = GrowthBookSettings()
    launchdarkly: LaunchDarklySettings = LaunchDarklySettings()


class SpecSourceSettings(SpecSourceOptions):
    """A source of specs, with durations as people write them."""

    timeout: Annotated[Span, Field(le=timedelta(minutes=2))] = timedelta(seconds=15)


class SpecSettings(Section):
    """Where feature specs are: a folder, or `sources`, which are asked in the order in which the file has them.

    `look_every` is how often the spec of an open rollout's plan is read again, to see whether it changed.
    """

    type: str = "folder"
    path: Path = Path("specs")
    look_every: Annotated[Span, Field(ge=timedelta(seconds=30))] = timedelta(minutes=5)
    sources: dict[Name, SpecSourceSettings] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _said_once(self) -> Self:
        if self.sources and self.model_fields_set & {"type", "path"}:
            raise ValueError("name the folder as one of specs.sources, with type and path, or have no other sources")
        return self


class PlanningSettings(PlanningDefaults):
    """What plans are made with where the spec does not say otherwise, with durations as people write them."""

    burn_in: Pause = timedelta(minutes=10)
    stale_after: Span = timedelta(minutes=2)
    blind_budget: Span = timedelta(minutes=5)
    check_every: Span = timedelta(seconds=15)
    traffic_window: Span = timedelta(hours=24)
    stage_budget: Span = timedelta(hours=24)
    bake: Pause = timedelta(minutes=30)


class BacktestSettings(Section):
    """Over how much of the past a proposed plan's gates are replayed by themselves; 0: they are not."""

    over: Pause = timedelta(days=14)


def _check_key(key: SecretStr) -> SecretStr:
    try:
        Fernet(key.get_secret_value())
    except ValueError:
        raise ValueError("write 32 random bytes in URL-safe base64: openssl rand -base64 32 | tr '+/' '-_'") from None
    return key


EncryptionKey = Annotated[SecretStr, AfterValidator(_check_key)]


def _check_approver(approver: str) -> str:
    if SLACK_APPROVER.fullmatch(approver) is None:
        raise ValueError(
            'name people by Slack user id, such as U0123ABCDEF ("Copy member ID" in a profile), and user groups by '
            'theirs, such as S0123ABCDEF ("Copy group ID"); names can\'t approve'
        )
    return approver


Approver = Annotated[str, AfterValidator(_check_approver)]


class ApprovalSettings(ApprovalRule):
    """A rule on approvals, with people and user groups as Slack knows them."""

    approvers: Annotated[tuple[Approver, ...], Field(min_length=1)]
    backup: tuple[Approver, ...] = ()


class ApprovingSettings(Approving):
    """Who approves in a workspace, as Slack knows them."""

    approvers: tuple[Approver, ...] = ()
    backup: tuple[Approver, ...] = ()
    approval: Annotated[tuple[ApprovalSettings, ...], Field(max_length=100)] = ()


class PolicySettings(Policy):
    """The policy, with durations as people write them, people and user groups as Slack knows them."""

    approvers: tuple[Approver, ...] = ()
    backup: tuple[Approver, ...] = ()
    approval: Annotated[tuple[ApprovalSettings, ...], Field(max_length=100)] = ()
    approval_ttl: Span = timedelta(hours=24)
    longest_acceptance: Span = timedelta(days=7)
    workspaces: dict[WorkspaceId, ApprovingSettings] = Field(default_factory=dict)


class MetricSettings(MetricDefinition):
    """A metric of the catalogue, with durations as people write them; its name is the table's.

    `settle` is not nothing where it is not said, for rows that are committed late would be missed for good. What the
    table does not say is filled in from its `template`.
    """

    template: str | None = None
    settle: Pause = timedelta(seconds=10)


class OfrepSettings(Section):
    """Flag evaluation over HTTP: for anyone who can reach the port, unless tokens are set.

    `environments` are served besides the default one, each below a path of its name.
    """

    tokens: tuple[SecretStr, ...] = ()
    environments: tuple[Name, ...] = ()


class JobSettings(Section):
    """What runs work that outlives a request."""

    type: str = "in_process"
    concurrency: Annotated[int, Field(ge=1, le=1000)] = 16


class SchedulerSettings(Section):
    """The clock: how often rollouts and messages that are due are looked for, and how long a lease holds."""

    tick: Span = timedelta(seconds=1)
    delivery: Span = timedelta(milliseconds=500)
    lease: Span = timedelta(seconds=15)


class TelemetrySettings(Section):
    """Who may read Sluice's own metrics: whoever reaches the HTTP port, unless a `token` or another `port` is set."""

    token: SecretStr | None = None
    port: Annotated[int, Field(ge=0, le=65535)] | None = None


class Settings(BaseSettings):
    """Everything that may differ between two installations. Making one validates values and reads nothing.

    `encryption_key` is what tokens are encrypted with at rest: the first encrypts, all of them decrypt.
    """

    model_config = SettingsConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    environment: Name = "production"
    encryption_key: tuple[EncryptionKey, ...] = ()
    database: DatabaseSettings = DatabaseSettings()
    slack: SlackSettings = SlackSettings()
    http: HttpSettings = HttpSettings()
    policy: PolicySettings = PolicySettings()
    flags: FlagSettings = FlagSettings()
    specs: SpecSettings = SpecSettings()
    sources: dict[Name, SourceSettings] = Field(default_factory=dict)
    metrics: dict[Name, MetricSettings] = Field(default_factory=dict)
    planning: PlanningSettings = PlanningSettings()
    backtest: BacktestSettings = BacktestSettings()
    ofrep: OfrepSettings = OfrepSettings()
    jobs: JobSettings = JobSettings()
    model: ModelOptions = ModelOptions()
    scheduler: SchedulerSettings = SchedulerSettings()
    telemetry: TelemetrySettings = TelemetrySettings()

    _variables: Variables = PrivateAttr(default=Variables({}))

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Only what is passed in: `load_settings` decides what that is."""
        return (init_settings,)

    @field_validator("metrics", mode="before")
    @classmethod
    def _named_by_their_tables(cls, metrics: object, info: ValidationInfo) -> object:
        if not isinstance(metrics, Mapping):
            return metrics
        for name, metric in metrics.items():
            if isinstance(metric, Mapping) and metric.get("name", name) != name:
                raise ValueError(f"the metric {name!r} is called as its table is; remove its name")
        sources = info.data.get("sources", {})
        return {
            name: {**_from_template(name, metric, sources), "name": name} if isinstance(metric, Mapping) else metric
            for name, metric in metrics.items()
        }

    def name_of(self, *key: str) -> str:
        """How people wrote a setting: the variable that set it, else its key in the file."""
        return self._variables.name_of(key) or dotted(key)

    @property
    def catalogue(self) -> Catalogue:
        """The metrics that plans may name."""
        return Catalogue(each_route(self.metrics.values()))


def _from_template(name: str, metric: Mapping[str, Any], sources: Mapping[str, SourceSettings]) -> Mapping[str, Any]:
    """The metric's table with what its template fills in, in its source's language."""
    if metric.get("template") is None:
        return metric
    source = sources.get(str(metric.get("source")))
    if source is None:
        raise ValueError(
            f"the metric {name!r} has a template, so its source must be one of: {', '.join(sources) or 'none yet'}"
        )
    try:
        return filled_in(metric, source.type, source.translation_strategy or TranslationStrategy.UNDERSCORES)
    except ValueError as error:
        raise ValueError(f"the metric {name!r} {error}") from None


def load_settings(path: Path | None, environ: Mapping[str, str]) -> Settings:
    """The settings of the file and, over them, of the variables.

    A platform's PORT counts when neither has a port. Who sets it sends requests from outside, so Sluice then listens on
    every address unless a host is set.

    `path` None means SLUICE_CONFIG or else `sluice.toml`, which may be absent. Raises ConfigurationError with one line
    that names the key as it was written, never a value.
    """
    named = path or (Path(environ[FILE_VARIABLE]) if environ.get(FILE_VARIABLE) else None)
    from_file = _read_file(named or DEFAULT_FILE, must_exist=named is not None)
    variables = Variables.of(environ, Settings)
    given = merged(from_file, variables.values())
    try:
        settings = Settings(**merged(merged(_platform(environ, given), _model_key(environ)), given))
    except ValidationError as error:
        raise ConfigurationError(explain(error, variables, named or DEFAULT_FILE, Settings)) from None
    settings._variables = variables
    return settings


def _platform(environ: Mapping[str, str], given: Mapping[str, Any]) -> dict[str, Any]:
    """What a hosting platform gives a web process: its port and every address, for where nobody set another port."""
    port, http = environ.get("PORT", ""), given.get("http", {})
    has_port = isinstance(http, Mapping) and "port" in http
    return {"http": {"port": port, "host": EVERY_ADDRESS}} if port.isdecimal() and not has_port else {}


def _model_key(environ: Mapping[str, str]) -> dict[str, Any]:
    """The model's key, where everything that talks to one looks for it."""
    key = environ.get("OPENAI_API_KEY", "").strip()
    return {"model": {"api_key": key}} if key else {}


def _read_file(path: Path, *, must_exist: bool) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        if must_exist:
            raise ConfigurationError(
                f"There is no file {path}; name another with --config or {FILE_VARIABLE}."
            ) from None
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path} can't be read: {error.__class__.__name__}.") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"{path} is not valid TOML: {error}.") from None
