"""`sluice eval` and `sluice replay RUN` as people run them."""

import asyncio
import json
import sqlite3
from pathlib import Path

import pytest

from agent.evals.scenario import USUAL_POLICY
from agent.evals.world import Traffic, open_world
from agent.model import ModelOptions
from agent.scripted import ScriptedModel
from bot.console.evaluating import Asked, chosen
from bot.console.replaying import live_options
from tests.integration.cli.conftest import Sluice
from tools.metrics.catalogue import MetricDefinition
from tools.records.database import Database


class TestEval:
    def test_a_scripted_evaluation_needs_no_model_and_passes(self, sluice: Sluice) -> None:
        ran = sluice("eval", "--scripted", "--only", "status-in-thread,spec-missing", "--repeat", "2")
        assert ran.status == 0
        head, row = ran.out.splitlines()[3:5]
        assert head.split()[:6] == ["TAG", "SCENARIOS", "RUNS", "PASS", "PASS^K", "SAFE"]
        assert row.split()[:6] == ["all", "2", "4", "100.0%", "100.0%", "100.0%"]
        assert "passed   status-in-thread" in ran.err

    def test_json_has_the_figures(self, sluice: Sluice) -> None:
        ran = sluice("eval", "--scripted", "--tags", "missing-data", "--without", "safety,heldout", "--format", "json")
        document = json.loads(ran.out)
        assert ran.status == 0
        assert document["asked"]["without"] == ["safety", "heldout"]
        assert document["tags"][0]["tag"] == "all"
        assert document["tags"][0]["rate"] == 1.0
        assert document["failed"] == document["not_run"] == {}
        assert document["short_of"] == []

    def test_nothing_run_is_a_failure(self, sluice: Sluice) -> None:
        ran = sluice("eval", "--scripted", "--tags", "no-such-tag")
        assert ran.status == 1
        assert "Nothing was run: that is no success." in ran.out

    def test_an_unknown_scenario_is_refused(self, sluice: Sluice) -> None:
        ran = sluice("eval", "--scripted", "--only", "nothing")
        assert ran.status == 1
        assert "There is no scenario 'nothing'" in ran.err

    def test_without_a_model_it_says_which_setting(self, sluice: Sluice) -> None:
        ran = sluice("eval", "--only", "status-in-thread")
        assert ran.status == 1
        assert "SLUICE_MODEL" in ran.err

    def test_a_model_that_can_not_be_reached_fails_nothing_and_passes_nothing(
        self, sluice: Sluice, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("SLUICE_MODEL_BASE_URL", "http://127.0.0.1:9/v1")
        ran = sluice("eval", "--model", "any", "--tags", "status", "--require", "0", "--require-safety", "0")
        assert ran.status == 1
        # After three in a row the rest is given up.
        assert ran.err.count("not run") == 3
        assert "The model can't be reached" in ran.err
        assert "Nothing was run" in ran.out

    def test_shares_are_required(self, sluice: Sluice, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("agent.evals.running.unmet", lambda *_: ["something is not as it should be"])
        asked = ("eval", "--scripted", "--only", "status-in-thread")
        ran = sluice(*asked)
        assert ran.status == 1
        assert "0.0% of the runs passed; 100.0% are required." in ran.out
        assert "status-in-thread  something is not as it should be" in ran.out
        assert sluice(*asked, "--require", "0").status == 0
        monkeypatch.setattr("agent.evals.running.unsafe", lambda *_: ["a turn raised new-checkout"])
        ran = sluice(*asked, "--require", "0")
        assert ran.status == 1
        assert "0.0% of the runs were safe; 100.0% are required." in ran.out

    def test_tags_and_names_choose(self) -> None:
        from agent.evals.loading import packaged

        scenarios = packaged()
        safety = chosen(scenarios, Asked(tags=("safety",), without=("heldout",)))
        assert safety
        assert all("safety" in one.tags and "heldout" not in one.tags for one in safety)
        assert len(chosen(scenarios, Asked())) == len(scenarios)


class TestReplay:
    @pytest.fixture
    def run_id(self, shop: Path) -> str:
        """A run in the shop's database."""

        async def speak() -> str:
            database = Database("sqlite:///sluice.db")
            metric = MetricDefinition(name="errors", source="m", title="Errors", query="-")
            model = ScriptedModel.of(["All is well."])
            options = ModelOptions(name="scripted")
            async with open_world(
                model, options=options, metrics=[metric], policy=USUAL_POLICY, database=database
            ) as world:
                await world.define("new-checkout", traffic={"errors": Traffic(600, 0.01, 0.01)})
                answer = await world.say("how are you?", person="UMIRA")
            await database.close()
            return answer.run_id

        return asyncio.run(speak())

    def test_a_recorded_run_is_the_same(self, sluice: Sluice, run_id: str) -> None:
        ran = sluice("replay", run_id, "--recorded")
        assert (ran.status, ran.out) == (
            0,
            "The same: everything came out as it was recorded.\n",
        )

    def test_a_run_that_comes_out_otherwise_is_shown_and_fails(self, sluice: Sluice, shop: Path, run_id: str) -> None:
        connection = sqlite3.connect(shop / "sluice.db")
        connection.execute("UPDATE agent_runs SET output = replace(output, 'All is well.', 'All is lost.')")
        connection.commit()
        connection.close()
        ran = sluice("replay", run_id, "--recorded")
        assert ran.status == 1
        assert ran.out.splitlines()[-2:] == ["-All is lost.", "+All is well."]

    def test_a_live_model_that_is_away_is_said(
        self, sluice: Sluice, run_id: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("SLUICE_MODEL_BASE_URL", "http://127.0.0.1:9/v1")
        ran = sluice("replay", run_id)
        assert ran.status == 1
        assert "The model can't be reached" in ran.err

    def test_options_of_runs_are_for_runs(self, sluice: Sluice, shop: Path) -> None:
        ran = sluice("replay", "new-checkout", "--recorded")
        assert ran.status == 2
        assert "There is no run 'new-checkout'" in ran.err

    def test_a_live_replay_is_had_at_todays_endpoint(self) -> None:
        then = ModelOptions(name="old", base_url="http://gone/v1", temperature=0.5)
        now = ModelOptions(name="new", base_url="http://here/v1", api_key="key")
        used = live_options(then, now, None)
        assert (used.name, used.base_url, used.temperature) == ("old", "http://here/v1", 0.5)
        assert used.api_key is not None
        assert live_options(then, now, "third").name == "third"
        assert live_options(then, ModelOptions(), None).base_url == "http://gone/v1"
