from datetime import timedelta
from pathlib import Path

import pytest

from bot.settings import Settings, load_settings
from tools.errors import ConfigurationError
from tools.metrics.catalogue import MetricKind
from tools.plans.defaults import PlanningDefaults
from tools.plans.policy import Policy

METRIC = '[metrics.errors]\nsource = "shop"\ntitle = "Errors"\nquery = "SELECT 1"\n'


@pytest.fixture
def written(tmp_path: Path) -> Path:
    return tmp_path / "sluice.toml"


def read(path: Path, text: str = "", **environ: str) -> Settings:
    path.write_text(text, encoding="utf-8")
    return load_settings(path, environ)


def refusal(path: Path, text: str = "", **environ: str) -> str:
    with pytest.raises(ConfigurationError) as caught:
        read(path, text, **environ)
    return str(caught.value)


def test_a_sources_token_may_be_in_a_variable(tmp_path: Path) -> None:
    file = tmp_path / "sluice.toml"
    file.write_text('[sources.prometheus]\ntype = "prometheus"\nurl = "http://127.0.0.1:9"\n', encoding="utf-8")
    settings = load_settings(file, {"SLUICE_SOURCES__PROMETHEUS__TOKEN": "s3cret"})
    assert settings.sources["prometheus"].access.token == "s3cret"
    assert "s3cret" not in repr(settings)


def test_everything_has_a_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    settings = load_settings(None, {})
    assert settings.database.url.get_secret_value() == "sqlite:///sluice.db"
    assert (settings.http.host, settings.http.port) == ("127.0.0.1", 8080)
    assert settings.environment == "production"


def test_the_defaults_of_policy_and_planning_are_those_of_the_tools() -> None:
    settings = Settings()
    assert settings.policy.model_dump() == Policy().model_dump()
    assert settings.planning.model_dump() == PlanningDefaults().model_dump()


def test_rows_that_are_committed_late_are_waited_for_unless_it_is_said_otherwise(written: Path) -> None:
    assert read(written, METRIC).catalogue.get("errors").settle == timedelta(seconds=10)
    assert read(written, METRIC + 'settle = "0s"\n').catalogue.get("errors").settle == timedelta(0)


def test_making_settings_reads_no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLUICE_HTTP_PORT", "9")
    monkeypatch.setenv("HTTP", '{"port": 9}')
    assert Settings().http.port == 8080


class TestSources:
    def test_the_file(self, written: Path) -> None:
        settings = read(written, f'environment = "staging"\n[policy]\napprovers = ["UMIRA0001"]\n{METRIC}')
        assert settings.environment == "staging"
        assert settings.policy.approvers == ("UMIRA0001",)
        assert [metric.name for metric in settings.catalogue] == ["errors"]
        assert settings.catalogue.get("errors").kind is MetricKind.RATIO

    def test_the_names_of_variables_are_flat(self, written: Path) -> None:
        settings = read(
            written,
            SLUICE_DATABASE_URL="postgresql://u:p@db/x",
            SLUICE_SLACK_BOT_TOKEN="xoxb-1",
            SLUICE_SLACK_APP_TOKEN="xapp-1",
            SLUICE_SLACK_SIGNING_SECRET="s",
            SLUICE_SLACK_API_URL="http://127.0.0.1:1/api",
            SLUICE_HTTP_PORT="81",
        )
        assert settings.database.url.get_secret_value() == "postgresql://u:p@db/x"
        assert settings.slack.bot_token is not None
        assert settings.slack.bot_token.get_secret_value() == "xoxb-1"
        assert settings.slack.app_token is not None
        assert settings.slack.signing_secret is not None
        assert settings.slack.api_url == "http://127.0.0.1:1/api/"
        assert settings.http.port == 81

    def test_two_underscores_go_as_deep_as_needed(self, written: Path) -> None:
        settings = read(written, SLUICE_SLACK__BOT_TOKEN="xoxb-2", SLUICE_SOURCES__SHOP__URL="sqlite:///shop.db")
        assert settings.slack.bot_token is not None
        assert settings.slack.bot_token.get_secret_value() == "xoxb-2"
        assert settings.sources["shop"].url is not None

    def test_a_variable_goes_before_the_file_and_leaves_its_neighbours(self, written: Path) -> None:
        settings = read(written, '[http]\nport = 1\nhost = "::1"\n', SLUICE_HTTP_PORT="2")
        assert (settings.http.host, settings.http.port) == ("::1", 2)

    def test_an_empty_variable_is_none(self, written: Path) -> None:
        assert read(written, "[http]\nport = 1\n", SLUICE_HTTP_PORT=" ").http.port == 1

    @pytest.mark.parametrize("text", ["UM01,WJ02", " UM01 , WJ02,", '["UM01", "WJ02"]'])
    def test_a_list_is_separated_by_commas_or_json(self, written: Path, text: str) -> None:
        assert read(written, SLUICE_POLICY_APPROVERS=text).policy.approvers == ("UM01", "WJ02")

    def test_the_variable_names_the_file(self, written: Path) -> None:
        written.write_text("[http]\nport = 7\n", encoding="utf-8")
        assert load_settings(None, {"SLUICE_CONFIG": str(written)}).http.port == 7

    def test_a_platforms_port_counts_when_nobody_set_one(self, written: Path) -> None:
        assert read(written, PORT="5000").http.port == 5000
        assert read(written, "[http]\nport = 1\n", PORT="5000").http.port == 1
        assert read(written, PORT="5000", SLUICE_HTTP_PORT="2").http.port == 2
        assert read(written, PORT="tcp://10.0.0.1").http.port == 8080

    def test_where_a_platforms_port_counts_its_router_can_reach_sluice(self, written: Path) -> None:
        assert read(written, PORT="5000").http.host == "0.0.0.0"
        assert read(written, '[http]\nhost = "::1"\n', PORT="5000").http.host == "::1"
        assert read(written, PORT="5000", SLUICE_HTTP_HOST="10.0.0.1").http.host == "10.0.0.1"
        for text, environ in (("", {}), ("[http]\nport = 1\n", {"PORT": "5000"}), ("", {"PORT": "tcp://10.0.0.1"})):
            assert read(written, text, **environ).http.host == "127.0.0.1"
        assert read(written, PORT="5000", SLUICE_HTTP_PORT="2").http.host == "127.0.0.1"

    @pytest.mark.parametrize(
        ("text", "seconds"),
        [
            ('"90s"', 90),
            ('"10m"', 600),
            ('"10 min"', 600),
            ('"24h"', 86400),
            ('"7d"', 604800),
            ("90", 90),
            ("0.5", 0.5),
        ],
    )
    def test_durations_are_written_as_people_write_them(self, written: Path, text: str, seconds: float) -> None:
        text = f"[planning]\nburn_in = {text}\n[policy]\napproval_ttl = {text}\n{METRIC}settle = {text}\n"
        settings = read(written, text)
        expected = timedelta(seconds=seconds)
        assert settings.planning.burn_in == expected
        assert settings.policy.approval_ttl == expected
        assert settings.metrics["errors"].settle == expected

    def test_a_metric_may_count_assignments(self, written: Path) -> None:
        assert read(written, f'{METRIC}kind = "assignments"\n').metrics["errors"].kind is MetricKind.ASSIGNMENTS


class TestRefusals:
    @pytest.mark.parametrize(
        ("name", "value", "sentence"),
        [
            ("SLUICE_HTTP_PORT", "abc", "SLUICE_HTTP_PORT must be a whole number."),
            ("SLUICE_HTTP_PORT", "99999", "SLUICE_HTTP_PORT must be less than or equal to 65535."),
            ("SLUICE_HTTP_PROT", "1", "SLUICE_HTTP_PROT is not a setting: did you mean SLUICE_HTTP_PORT?"),
            ("SLUICE_HTP_PORT", "1", "SLUICE_HTP_PORT is not a setting: did you mean SLUICE_HTTP_PORT?"),
            (
                "SLUICE_SOURCES__SHOP__ULR",
                "x",
                "SLUICE_SOURCES__SHOP__ULR is not a setting: did you mean SLUICE_SOURCES__SHOP__URL?",
            ),
            ("SLUICE_POLICY", "x", "SLUICE_POLICY must be a table."),
            (
                "SLUICE_DATABASE_URL",
                "mysql://root:hunter2@db/x",
                "SLUICE_DATABASE_URL can't be used: The database must be sqlite or postgresql, not 'mysql'.",
            ),
            (
                "SLUICE_SLACK_API_URL",
                "slack.com",
                "SLUICE_SLACK_API_URL can't be used: write an address that starts with https:// or http://.",
            ),
            (
                "SLUICE_SCHEDULER_TICK",
                "soon",
                "SLUICE_SCHEDULER_TICK must be a duration: seconds as a number, or text such as 90s, 10m, 24h or 7d.",
            ),
        ],
    )
    def test_a_variable_is_named(self, written: Path, name: str, value: str, sentence: str) -> None:
        assert refusal(written, **{name: value}) == sentence

    @pytest.mark.parametrize(
        ("text", "sentence"),
        [
            ('[slack]\nbot_tken = "x"', "slack.bot_tken in {} is not a setting: did you mean slack.bot_token?"),
            ("[slak]", "slak in {} is not a setting: did you mean slack?"),
            ("[planning]\nstages = [5, 'a']", "planning.stages[1] in {} must be a number."),
            ('[policy]\napprovers = "U1"', "policy.approvers in {} must be a list."),
            ('[metrics.errors]\nsource = "s"\nquery = "q"', "metrics.errors.title in {} is missing."),
            ("[metrics]\nerrors = 1", "metrics.errors in {} must be a table."),
            ("slack = 1", "slack in {} must be a table."),
            ("[flags]\ntype = 3", "flags.type in {} must be text."),
            (
                f'{METRIC}name = "failures"',
                "metrics in {} can't be used: the metric 'errors' is called as its table is; remove its name.",
            ),
            ("x =", "{} is not valid TOML: Invalid value (at end of document)."),
        ],
    )
    def test_a_key_of_the_file_is_named(self, written: Path, text: str, sentence: str) -> None:
        assert refusal(written, text) == sentence.format(written)

    @pytest.mark.parametrize(
        "person", ["jonas", "@jonas", "<@UJONAS001>", "ujonas001", "@release-approvers", "S", "UMIRA 1", ""]
    )
    def test_an_approver_that_slack_can_not_know_is_refused(self, written: Path, person: str) -> None:
        sentence = (
            'can\'t be used: name people by Slack user id, such as U0123ABCDEF ("Copy member ID" in a profile), and '
            'user groups by theirs, such as S0123ABCDEF ("Copy group ID"); names can\'t approve.'
        )
        said = refusal(written, f"[policy]\napprovers = ['UMIRA0001', '{person}']")
        assert said == f"policy.approvers[1] in {written} {sentence}"
        if person:
            assert refusal(written, SLUICE_POLICY_APPROVERS=person) == f"SLUICE_POLICY_APPROVERS {sentence}"

    @pytest.mark.parametrize(
        ("rule", "sentence"),
        [
            (
                "approvers = ['UMIRA0001']\nneeded = 2",
                "policy.approval[0] in {} can't be used: name at least as many approvers as are needed, "
                "or a user group.",
            ),
            (
                "approvers = ['@payments']",
                "policy.approval[0].approvers[0] in {} can't be used: name people by Slack user id, such as "
                'U0123ABCDEF ("Copy member ID" in a profile), and user groups by theirs, such as S0123ABCDEF ("Copy '
                "group ID\"); names can't approve.",
            ),
        ],
    )
    def test_a_rule_on_approvals_that_can_not_hold_is_refused(self, written: Path, rule: str, sentence: str) -> None:
        assert refusal(written, f"[[policy.approval]]\n{rule}") == sentence.format(written)

    def test_a_backup_is_asked_after_the_reminder(self, written: Path) -> None:
        said = refusal(written, "[policy]\napproval_reminder = 0.8")
        assert said == (
            f"policy in {written} can't be used: the backup is asked after the reminder: make approval_escalation the "
            "larger part."
        )

    def test_an_unknown_key_without_near_ones_lists_those_there_are(self, written: Path) -> None:
        said = refusal(written, "[http]\nzzz = 1")
        assert said == f"http.zzz in {written} is not a setting; known here: http.host, http.port, http.public_url."

    def test_the_first_fault_is_one_line(self, written: Path) -> None:
        assert "\n" not in refusal(written, "[http]\nport = 'x'\nhost = 3\n[slack]\nx = 1")

    def test_a_named_file_must_exist(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigurationError, match=r"There is no file .*missing\.toml"):
            load_settings(tmp_path / "missing.toml", {})

    def test_no_value_is_ever_shown(self, written: Path) -> None:
        said = refusal(written, SLUICE_SLACK_BOT_TOKEN="xoxb-hunter2", SLUICE_HTTP_PORT="hunter2")
        said += refusal(written, '[slack]\nbot_token = ["xoxb-hunter2"]')
        said += refusal(written, SLUICE_DATABASE_URL="mysql://root:hunter2@db/x")
        said += repr(read(written, SLUICE_SLACK_BOT_TOKEN="hunter2", SLUICE_DATABASE_URL="postgresql://u:hunter2@h/d"))
        assert "hunter2" not in said


class TestModel:
    def test_none_is_configured_unless_it_is_named(self, written: Path) -> None:
        assert load_settings(None, {}).model.name is None

    def test_its_variables_are_the_usual_ones(self, written: Path) -> None:
        environ = {
            "SLUICE_MODEL": "local-llm",
            "SLUICE_MODEL_BASE_URL": "http://127.0.0.1:9/v1",
            "SLUICE_MODEL_STYLE": "schema",
            "OPENAI_API_KEY": "sk-a",
        }
        model = load_settings(None, environ).model
        assert (model.name, model.base_url, model.style) == ("local-llm", "http://127.0.0.1:9/v1", "schema")
        assert model.api_key is not None
        assert model.api_key.get_secret_value() == "sk-a"
        assert "sk-a" not in repr(model)

    @pytest.mark.parametrize(
        ("name", "value"), [("SLUICE_MODEL_STYLE", "shouting"), ("SLUICE_MODEL_BASE_URL", "example.com")]
    )
    def test_a_wrong_one_is_named(self, written: Path, name: str, value: str) -> None:
        with pytest.raises(ConfigurationError, match=name):
            load_settings(None, {name: value})
