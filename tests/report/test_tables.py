"""Tables of a report, worked out by hand, in their three forms."""

import csv
import io
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from tests.report.handmade import diverged, made, runs
from trajtune.report.index import places
from trajtune.report.paper import agreement, paper_minutes, paper_returns
from trajtune.report.returns_table import returns_tables
from trajtune.report.study_tables import (
    aggregate_tables,
    checkpoint_tables,
    runtime_tables,
    selection_tables,
    size_tables,
)
from trajtune.report.table import Block, Entry, Row, Table, csv_text, document, latex, markdown

B = Row("b", ("<b>", Entry()))
HOSTILE = Table(
    "t",
    "A & B <script>",
    ("", "x|y", "_"),
    (
        Block(
            "",
            (
                Row("=1+1", (Entry(1.0, 0.25, "best"), Entry(0.5, None, "tied", "1 diverged"))),
                Row("b", ("<b>", Entry())),
            ),
        ),
    ),
    notes=("50% of $5",),
)


class TestForms:
    def test_markdown(self) -> None:
        lines = markdown(HOSTILE).splitlines()
        assert lines[:6] == [
            "### A &amp; B &lt;script&gt;",
            "",
            "|  | x\\|y | _ |",
            "| --- | ---: | ---: |",
            "| =1+1 | **1.00 ± 0.25** | 0.50 † (1 diverged) |",
            "| b | &lt;b&gt; | - |",
        ]
        assert "50% of $5" in lines

    def test_csv_has_numbers_in_full_and_no_formulas(self) -> None:
        table = replace(HOSTILE, blocks=(Block("", (Row("=1+1", (Entry(1 / 3), "@x")),)),))
        rows = list(csv.DictReader(io.StringIO(csv_text([table]))))
        assert float(rows[0]["value"]) == 1 / 3
        assert (rows[0]["row"], rows[1]["note"]) == ("'=1+1", "'@x")

    def test_csv_has_shown_numbers_as_numbers(self) -> None:
        table = replace(HOSTILE, blocks=(Block("", (Row("a", ("-0.100", "-")),)),))
        first, second = csv.DictReader(io.StringIO(csv_text([table])))
        assert (first["value"], first["note"], second["note"]) == ("-0.100", "", "-")

    def test_markdown_makes_no_links_of_words(self) -> None:
        assert "](" not in markdown(replace(HOSTILE, title="![x](http://h/p.png) [y](javascript:z)"))

    def test_latex_compiles(self, tmp_path: Path) -> None:
        text = latex(HOSTILE)
        assert "$\\mathbf{1.00}_{\\pm 0.25}$" in text and "$0.50^{\\dagger}$ (1 diverged)" in text
        if shutil.which("pdflatex") is None:
            pytest.skip("no LaTeX here")
        wide = replace(HOSTILE, blocks=(Block("§ { } ~ ^ \\ é", (Row("word " * 30, ("sentence " * 30, Entry(2.0))),)),))
        odd = replace(HOSTILE, blocks=(Block("", tuple(Row(f"[{i}", (Entry(1.0), "x")) for i in range(3))),))
        (tmp_path / "t.tex").write_text(document([HOSTILE, wide, *[odd] * 80]))
        command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "t.tex"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stdout[-2000:]
        assert (tmp_path / "t.pdf").stat().st_size > 1000


class TestTable1:
    def test_means_deviations_best_and_tied(self) -> None:
        """Level + t + s, episodes 0 and 2 above: the mean is level + 1.5 + 0.5 + 1; seeds differ by 1, so their sample
        deviation is sqrt(1/2). dpo trails sft by 1 in every episode and is told apart; qp-sft equals sft."""
        results = [*runs("zero-shot", 0.0), *runs("sft", 10.0), *runs("dpo", 9.0), *runs("qp-sft", 10.0)]
        raw, score = returns_tables(places(results))
        [block] = raw.blocks
        zero, sft, dpo, qp = block.rows[0].entries
        assert raw.head == ("", "zero-shot", "sft", "dpo", "qp-sft") and block.heading == "full"
        assert isinstance(sft, Entry) and isinstance(qp, Entry) and isinstance(dpo, Entry) and isinstance(zero, Entry)
        assert sft.value == pytest.approx(13.0) and sft.spread == pytest.approx(0.5**0.5)
        assert (zero.mark, sft.mark, dpo.mark, qp.mark) == ("", "best", "", "tied")
        own = score.blocks[0].rows[0].entries[1]
        assert isinstance(own, Entry) and own.value == pytest.approx(0.13)

    def test_the_average_is_over_suites(self) -> None:
        results = [
            r for suite, level in (("ant-dir", 10.0), ("cheetah-vel", 30.0)) for r in runs("sft", level, suite=suite)
        ]
        results += runs("dpo", 5.0)
        average = returns_tables(places(results))[0].blocks[0].rows[-1]
        assert average.name == "average"
        zero, sft, dpo = average.entries
        assert isinstance(sft, Entry) and sft.value == pytest.approx(23.0)
        assert dpo == Entry(note="missing") == zero
        gap = [*runs("sft", 10.0)[:-1], diverged(runs("sft", 10.0)[-1]), *runs("sft", 30.0, suite="cheetah-vel")]
        entry = returns_tables(places(gap))[0].blocks[0].rows[-1].entries[1]
        assert isinstance(entry, Entry) and entry.note == "of what is there"

    def test_what_is_not_there_says_why(self) -> None:
        sft = runs("sft", 10.0)
        results = [*sft, *runs("dpo", 9.0)[:5], diverged(runs("ppo", 1.0)[0]), *runs("ppo", 1.0)[1:]]
        results += [replace(r, returns=(), failed="a bug") for r in runs("cql", 1.0)]
        _, _, dpo, ppo, cql = returns_tables(places(results))[0].blocks[0].rows[0].entries
        assert isinstance(dpo, Entry) and isinstance(ppo, Entry)
        assert (dpo.note, ppo.note, cql) == ("5 of 8", "1 diverged", Entry(note="8 failed"))
        assert dpo.value is not None and dpo.mark == ""

    def test_the_deviation_over_seeds_is_not_that_of_tasks(self) -> None:
        """Of seed 1 there is task 0 alone: only that is compared."""
        half = [r for r in runs("sft", 0.0) if r.run.seed == 0 or r.run.task == 0]
        entry = returns_tables(places(half))[0].blocks[0].rows[0].entries[1]
        assert isinstance(entry, Entry) and entry.spread == pytest.approx(0.5**0.5)

    def test_ranks_stand_beside_the_papers(self) -> None:
        order = ["sft", "qp-sft", "ppo", "dpo"]  # the paper's Ant-Dir, full: 401.63, 412.18, 335.06, 360.96
        results = [r for i, name in enumerate(order) for r in runs(name, 10.0 * i)]
        notes = returns_tables(places(results))[0].notes
        assert notes[-1] == "Rank correlation with the paper's line, full, ant-dir: -0.60."


def test_what_the_paper_prints() -> None:
    assert paper_returns("full", "ant-dir")["qp-sft"] == 412.18
    assert paper_minutes("adapter")["cql"] == 159.35
    assert paper_returns("full", "gym:Hopper-v5") == {} == paper_returns("algorithms", "ant-dir")


def test_agreement_by_hand() -> None:
    """Ranks 1 2 3 against 1 3 2: 1 - 6 * 2 / (3 * 8) = 0.5."""
    assert agreement({"a": 1.0, "b": 2.0, "c": 3.0}, {"a": 1.0, "b": 9.0, "c": 5.0}) == pytest.approx(0.5)
    assert agreement({"a": 1.0, "b": 2.0}, {"a": 1.0, "b": 9.0}) is None
    assert agreement(dict.fromkeys("abc", 1.0), {"a": 1.0, "b": 9.0, "c": 5.0}) is None


def test_table_2_has_a_column_an_agent() -> None:
    small = [replace(r, entry="small", trainable=2**18, agent_size=10**6) for r in runs("qp-dpo", 10.0)]
    large = [replace(r, entry="large", trainable=2**19, agent_size=10**7) for r in runs("qp-dpo", 20.0)]
    [table] = size_tables(places([*small, *large]))
    size, score = table.blocks[0].rows
    assert table.head == ("", "small", "large") and size.entries == ("1.00 MB", "2.00 MB")
    assert isinstance(score.entries[1], Entry) and score.entries[1].value == pytest.approx(23.0)
    assert size_tables(places(small)) == []


def test_table_3_is_in_units_of_sft_full() -> None:
    slow = [replace(r, finetune_seconds=3.0) for r in runs("qp-sft", 1.0, tuning="adapter")]
    [table] = runtime_tables(places([*runs("sft", 1.0), *slow]))
    ours, paper = table.blocks
    assert [row.entries for row in ours.rows] == [(Entry(1.0), Entry(None)), (Entry(None), Entry(1.5))]
    assert paper.rows[1].entries[1] == Entry(162.16 / 135.14)
    assert runtime_tables(places(slow)) == []
    assert runtime_tables(places([replace(r, finetune_seconds=0.0) for r in runs("sft", 1.0)])) == []


def test_aggregates_by_hand() -> None:
    """dpo beats sft in every episode, ranks first; means of runs are 11 to 15 (t + s + 11), their middle half 13."""
    [table] = aggregate_tables(places([*runs("sft", 10.0), *runs("dpo", 11.0)]))
    sft, dpo = table.blocks[0].rows
    assert sft.entries[1].startswith("0.130 [") and sft.entries[4] == Entry(2.0)  # type: ignore[union-attr]
    assert dpo.entries[2] == "1.00 [1.00, 1.00]" and dpo.entries[4] == Entry(1.0)


def test_the_best_checkpoint_stands_beside_the_last() -> None:
    """0.5 above the end in one run, none in the other."""
    one, two = (made("sft", t, (20.0, 20.0), curve=c) for t, c in ((0, (0.0, 70.0, 20.0)), (1, (0.0, 10.0, 20.0))))
    [table] = checkpoint_tables(places([one, two]))
    final, effect, points = table.blocks[0].rows[0].entries
    assert isinstance(final, Entry) and isinstance(effect, Entry)
    assert (final.value, effect.value, points) == (pytest.approx(0.2), pytest.approx(0.25), "3")
    assert checkpoint_tables(places(runs("sft", 1.0))) == []


def test_the_selection() -> None:
    trials = [
        {"values": {"alpha": 0.1}, "scores": [0.2, 0.4], "score": 0.3, "state": "complete"},
        {"values": {"alpha": 1.0}, "scores": [], "score": None, "state": "diverged"},
    ]
    arm = {"algorithm": "qp-sft", "tuning": "full", "values": {"alpha": 0.1}, "trials": trials}
    [table] = selection_tables([arm])
    chosen, other = table.blocks[0].rows
    assert (chosen.name, other.entries) == ("alpha=0.1", (Entry(note="diverged"), "0"))
    assert chosen.entries[0] == Entry(0.3, pytest.approx(0.02**0.5), "best")
    assert selection_tables([]) == []
