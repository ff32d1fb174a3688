"""The page of a study: what it says, that it is one small file, and that no label can be more than words."""

import base64
import hashlib
import json
import re
import shlex
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from tests.report.studies import CLAIM, TABLE, ZERO, hostile, made, study
from trajtune.cli.parsing import parse
from trajtune.configs import parse_options
from trajtune.data.setting import Setting
from trajtune.errors import UserError
from trajtune.report.cells import summarise
from trajtune.report.page import page as module
from trajtune.report.page.commands import commands, shipped_by_digest
from trajtune.report.page.data import page_data
from trajtune.report.page.page import LIMIT, page, write_page
from trajtune.report.page.plain import short
from trajtune.study.cell import Evaluation
from trajtune.study.results import Result
from trajtune.training.config import Recipe


class Reader(HTMLParser):
    """What a browser would find: elements with their attributes, scripts, comments and policies."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open = ""
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.inside: dict[str, list[str]] = {"script": [], "style": []}
        self.rest: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag in self.inside:
            self.inside[tag].append("")

        self.open = tag

    def handle_endtag(self, tag: str) -> None:
        self.open = ""

    def handle_data(self, data: str) -> None:
        if self.open in self.inside:
            self.inside[self.open][-1] += data
        else:
            self.rest.append(data)


def embedded(text: str) -> Any:
    [data] = re.findall(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)
    return json.loads(data)


def cell_of(data: dict[str, Any], name: str) -> dict[str, Any]:
    [found] = [cell for cell in data["cells"] if cell["name"] == name]
    return dict(found)


def test_a_cell_says_what_the_summary_says() -> None:
    results = study()
    data, [comparison] = page_data(results), summarise(results)
    assert [cell["name"] for cell in data["cells"]] == [
        "zero-shot (asked for the best)",
        *("sft x full", "dpo x full", "ppo (low) x full", "ppo (high) x full"),
    ]
    for told, summary in zip(data["cells"][1:], comparison.cells, strict=True):
        assert summary.interval is not None
        assert (told["runs"], told["diverged"], told["failed"]) == (6, 0, 0)
        assert (told["verdict"], told["over"]) == (summary.verdict, "tasks")
        assert told["interval"] == pytest.approx(summary.interval, rel=1e-5)
        for name in ("score", "gain", "p", "effect", "improved", "selected", "moved"):
            assert told[name] == pytest.approx(getattr(summary, name), rel=1e-5)


def test_a_cell_has_all_that_it_was_made_from() -> None:
    data = page_data(study(), videos={"point/medium-5-dense/sft-full": ["videos/sft.mp4"]})
    zero, sft = data["cells"][:2]
    assert (sft["id"], sft["base"], zero["base"]) == ("point/medium-5-dense/sft-full", zero["id"], None)
    assert (sft["agent"], sft["data"], sft["videos"], zero["videos"]) == ("agent", "data", ["videos/sft.mp4"], [])
    assert sft["recipe"]["training"]["steps"] == 300 and "seed" not in sft["recipe"]["training"]
    assert zero["recipe"] is None
    assert [data["machines"][i]["versions"] for i in sft["machines"]] == [{"python": "3.11.7", "torch": "2.13.0"}]
    first = sft["results"][0]
    assert (first["task"], first["seed"], first["ended"]) == (1, 0, None)
    assert data["few_shot"][first["few_shot"]] == "few-1-0"
    assert first["episodes"] == pytest.approx([each / 100 for each in made("sft", 1, 0, 0.3).returns])
    assert data["places"][sft["place"]]["tasks"] == {"1": "goal 1", "2": "goal 2", "3": "goal 3"}


def test_curves_and_tasks_are_means_over_seeds() -> None:
    runs = [made(ZERO, task, seed) for task in (1, 2) for seed in (0, 1)]
    tuned = [made("sft", task, seed, 0.3) for task in (1, 2) for seed in (0, 1)][:3]  # of task 2 one seed
    sft = cell_of(page_data([*runs, *tuned]), "sft x full")
    a, b, c = ((r.normalised or 0.0) for r in tuned)
    assert sft["curve"]["steps"] == [0, 300]
    assert sft["curve"]["mean"] == pytest.approx([(a + b) / 4 + c / 2 - 0.1, (a + b) / 4 + c / 2], abs=1e-5)
    assert sft["curve"]["runs"][2] == pytest.approx([c - 0.1, c], abs=1e-5)
    zeros = [r.normalised or 0.0 for r in runs]
    told = [(each["task"], each["runs"], each["score"], each["gain"]) for each in sft["tasks"]]
    assert told[0] == (1, 2, pytest.approx((a + b) / 2), pytest.approx((a + b - zeros[0] - zeros[1]) / 2))
    assert told[1] == (2, 1, pytest.approx(c), pytest.approx(c - zeros[2]))


def test_what_diverged_or_failed_is_said() -> None:
    lost: dict[str, Any] = {"returns": (), "mean_return": None, "normalised": None}
    gone: list[Result] = [
        replace(made("sft", 2), diverged="the loss is NaN", **lost),
        replace(made("sft", 3), failed="a worker died", **lost),
    ]
    sft = cell_of(page_data([made(ZERO), made("sft", level=0.3), *gone]), "sft x full")
    assert (sft["runs"], sft["diverged"], sft["failed"], sft["verdict"]) == (1, 1, 1, "diverged")
    ended = [(run["ended"], run["mean"] is None, len(run["episodes"])) for run in sft["results"]]
    assert ended == [(None, False, 4), ("diverged: the loss is NaN", True, 0), ("failed: a worker died", True, 0)]


def test_another_baseline_is_pointed_at() -> None:
    data = page_data([*study(), *(made("sft", task, tuning="prompt") for task in (1, 2, 3))], "sft")
    assert cell_of(data, "dpo x full")["base"] == cell_of(data, "sft x full")["id"]
    assert cell_of(data, "sft x full")["base"] is None


def test_claims_and_tables_are_given_as_they_are() -> None:
    undecided = {**CLAIM, "verdict": "no results", "estimate": None, "interval": None, "seeds": 12}
    data = page_data(study(), claims=[CLAIM, undecided], tables=[TABLE])
    assert data["claims"][0]["interval"] == [0.125, 0.375] and data["claims"][1]["seeds"] == 12
    [table] = data["tables"]
    assert table["blocks"][0]["rows"] == [[["point", ""], ["0.50 ± 0.10 (1 diverged)", "best"], ["a word", ""]]]
    assert table["notes"][-1] == "A note." and len(table["notes"]) == 2


def test_numbers_are_rounded_and_finite() -> None:
    assert [short(each) for each in (None, float("nan"), float("inf"), 2.0, -1 / 3)] == [None, None, None, 2, -0.333333]


@pytest.mark.parametrize("setting", [Setting("medium", 5), Setting(None, 9, "sparse", -12.5)])
def test_commands_make_the_same_run(setting: Setting) -> None:
    training = replace(Recipe().training, seed=7, learning_rate=1e-5, precision="bf16")
    recipe = Recipe("qp-sft", "adapter", {"base.quantile": 0.25, "scale": "gradient"}, {"method": "IA3"}, 0.3, training)
    run = replace(made("sft").run, setting=setting, recipe=recipe.resolved(), seed=7, task=3)
    (finetune, evaluate), limits = commands(run)
    told = parse(shlex.split(finetune)[1:])
    options, tuning_options = parse_options(told.set), parse_options(told.set_tuning)
    assert replace(told.recipe, options=options, tuning_options=tuning_options).to_json() == recipe.resolved().to_json()
    assert (told.setting, told.task, str(told.agent), str(told.data), limits) == (setting, 3, "AGENT", "DATA", "")
    scored = parse(shlex.split(evaluate)[1:])
    assert (scored.episodes, scored.seed, scored.precision, str(scored.delta)) == (4, 0, "fp32", "DELTA")


def test_the_command_of_zero_shot_says_what_it_cannot_repeat() -> None:
    run = replace(made(ZERO, seed=5).run, evaluation=Evaluation(episodes=4, precision="fp32"))
    [evaluate], limits = commands(run)
    told = parse(shlex.split(evaluate)[1:])
    assert (told.seed, told.task, told.setting) == (5, "1", run.setting) and "episodes are others" in limits
    assert commands(replace(run, seed=0))[1] == ""


def test_what_comes_with_the_package_is_called_by_its_name() -> None:
    named = {name: digest for digest, name in shipped_by_digest().items()}
    run = replace(made("sft").run, agent=named["asset:cheetah-vel/agent"], data=named["asset:cheetah-vel/data"])
    assert "--agent asset:cheetah-vel/agent --data asset:cheetah-vel/data" in commands(run)[0][0]


def test_a_page_is_one_file_that_asks_for_nothing(tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    write_page(path, page_data(study(), claims=[CLAIM], tables=[TABLE]))
    found = Reader(path.read_text("utf-8"))
    linked = [a[name] or "" for _, a in found.tags for name in ("src", "href", "srcset", "action") if name in a]
    assert {each[:1] for each in linked} == {"#", "d"} and not any("//" in each for each in linked)
    [policy] = [a["content"] or "" for tag, a in found.tags if a.get("http-equiv") == "Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; ") and "http" not in policy
    *libraries, ours = found.inside["script"][1:]
    for script in (*libraries, ours):
        assert base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() in policy
    assert len(libraries) == 2 and "<" not in found.inside["script"][0]
    assert not any("http" in each for each in (ours, *found.inside["style"], *found.rest))
    assert "sourceMappingURL" not in path.read_text("utf-8")


def test_a_page_takes_the_place_of_a_page_only(tmp_path: Path) -> None:
    data, path = page_data(study()), tmp_path / "page.html"
    write_page(path, data)
    write_page(path, data)
    path.write_text("<!doctype html>\nmine")
    with pytest.raises(UserError, match="already holds something else"):
        write_page(path, data)


@pytest.mark.parametrize(
    "words", ["</script><script>window.hacked = 1</script>", "<!-- <script>", "{{scripts}} \ud800"]
)
def test_no_label_ends_the_data(words: str) -> None:
    data = page_data(hostile(words), claims=[{**CLAIM, "detail": words}], tables=[replace(TABLE, title=words)])
    text = page(data)
    assert embedded(text) == data
    scripts = Reader(text).inside["script"]
    assert len(scripts) == 4 and not set("<>&") & set(scripts[0])


def test_a_hundred_cells_of_a_thousand_runs_fit() -> None:
    places = [(task, seed) for task in (1, 2, 3, 4, 5) for seed in (0, 1)]
    results = [made(ZERO, *place, count=50) for place in places]
    for i in range(100):
        results += [made("sft", *place, level=0.001 * i, label=f"v{i}", count=50) for place in places]
    data = page_data(results)
    text = page(data)
    assert len(data["cells"]) == 101 and len(text.encode()) < LIMIT
    assert embedded(text)["omitted"] == []


def test_a_page_that_were_too_large_says_what_it_leaves_out(monkeypatch: pytest.MonkeyPatch) -> None:
    data = page_data(study())
    monkeypatch.setattr(module, "LIMIT", len(page(data).encode()))
    smaller = embedded(page(data))
    assert smaller["omitted"] == ["single episodes"]
    runs = [run for cell in smaller["cells"] for run in cell["results"]]
    assert not any(run["episodes"] for run in runs) and all(run["mean"] is not None for run in runs)
    monkeypatch.setattr(module, "LIMIT", 1000)
    with pytest.raises(UserError, match="of at most 0: report fewer results"):
        page(data)
