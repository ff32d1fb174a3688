"""A report in a folder: every part that the results allow, what it says of those they do not, and its figures."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.report.handmade import diverged, made, runs
from trajtune.errors import UserError
from trajtune.report.figures.style import looks
from trajtune.report.writing import FIGURES, NEEDS, PARTS, TABLES, Given, write_report
from trajtune.study.results import Machine, Result

TUNINGS = ("adapter", "full")


PLACES: tuple[dict[str, Any], ...] = (
    {},
    {"quality": "medium"},
    {"reward": "sparse"},
    {"trajectories": 5},
    {"trajectories": 5, "reward": "sparse"},
    {"suite": "cheetah-vel"},
)
"""One thing differs at a time: every panel costs time."""


def whole() -> list[Result]:
    """A study of which every part can be made."""
    found = []
    for where in PLACES:
        found += runs("zero-shot", 5.0, tasks=3, seeds=1, **where)
        for tuning in TUNINGS:
            how = {**where, "tuning": tuning, "tasks": 3, "seeds": 1, "curve": (1.0, 9.0, 4.0)}
            found += runs("sft", 10.0, **how)
            for a in (0.1, 1.0):
                found += runs("qp-sft", 9.0 + a, label=f"alpha={a}", options={"alpha": a}, **how)
    for entry, size in (("small", 10**6), ("large", 10**7)):
        sized = runs("qp-dpo", 8.0, suite="metaworld-ml45", tasks=3, seeds=1)
        found += [replace(r, entry=entry, agent_size=size, trainable=size) for r in sized]
    return found


ARMS = [
    {
        "algorithm": "qp-sft",
        "tuning": "full",
        "values": {"alpha": 0.1},
        "trials": [{"values": {"alpha": 0.1}, "scores": [0.2, 0.4], "score": 0.3, "state": "complete"}],
    }
]


def test_all_that_a_whole_study_allows(tmp_path: Path) -> None:
    said = []
    written = write_report(Given(whole(), "sft", ARMS), tmp_path, progress=lambda *step: said.append(step[1:3]))
    assert set(written) == set(PARTS)
    for part in TABLES:
        assert [path.suffix for path in written[part]] == [".md", ".tex", ".csv"]
        assert written[part][0].read_text().startswith("### ")
    for part in FIGURES:
        pdf, png = written[part]
        assert pdf.read_bytes().startswith(b"%PDF") and png.read_bytes().startswith(b"\x89PNG")
    [page] = written["page"]
    assert "QP-SFT is better than SFT" in page.read_text("utf-8")
    assert said[-1] == (len(PARTS), len(PARTS))


def test_the_same_results_make_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_report(Given(runs("sft", 1.0)), tmp_path / name, ["table1", "figure8"])
    files = sorted(p.relative_to(tmp_path / "a") for p in (tmp_path / "a").rglob("*") if p.is_file())
    assert len(files) == 6
    for each in files:
        assert (tmp_path / "a" / each).read_bytes() == (tmp_path / "b" / each).read_bytes(), each


@pytest.mark.parametrize("part", sorted(NEEDS))
def test_what_results_do_not_allow_is_said_where_it_is_asked_for(part: str, tmp_path: Path) -> None:
    given = Given(runs("zero-shot", 1.0))
    with pytest.raises(UserError, match=f"do not make a {part}: "):
        write_report(given, tmp_path, [part])
    assert part not in write_report(given, tmp_path / "all")


def test_nothing_of_an_earlier_report_stays(tmp_path: Path) -> None:
    two = [r for n in (5, 50) for r in runs("sft", 1.0, trajectories=n)]
    assert (write_report(Given(two), tmp_path)["figure2"][0]).exists()
    write_report(Given(two[:8]), tmp_path)
    assert not list(tmp_path.rglob("figure2.*")) and (tmp_path / "figures" / "figure8.pdf").exists()


def test_an_unknown_part(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="unknown part of a report 'tabel1': did you mean table1"):
        write_report(Given(runs("sft", 1.0)), tmp_path, ["tabel1"])


@pytest.mark.parametrize(
    "results",
    [
        [diverged(r) for r in whole()[:20]],
        [replace(r, returns=(), mean_return=None, normalised=None, failed="a bug") for r in whole()[:20]],
        [replace(r, normalised=None, references=None) for r in runs("sft", 1.0)],
        [made("sft", 0, (1.0,))],
        [made("sft", 0, (1.0,)), made("zero-shot", 0, (2.0,))],
        whole()[:20],
        [replace(r, label="$x_1^2$ <b>&\\", name="$\\alpha$ | é") for r in runs("sft", 1.0)],
    ],
    ids=["all diverged", "all failed", "no references", "one episode", "and zero-shot", "half-finished", "odd names"],
)
def test_whatever_became_of_a_study_there_is_a_report(results: list[Result], tmp_path: Path) -> None:
    written = write_report(Given(results), tmp_path)
    assert "cells" in written
    for paths in written.values():
        assert all(path.stat().st_size > 0 for path in paths)


def test_results_of_several_machines_say_so() -> None:
    one, two = (Machine(f"P{i}", 1, {"torch": f"2.1{i}", "numpy": str(i)}) for i in range(2))
    results = [
        replace(r, machine=m) for r, m in zip(runs("sft", 1.0), (one, two, one, one, one, one, one, one), strict=True)
    ]
    assert Given(results).mixed == "These results are of 2 processors (P0, P1); 2 versions of torch (2.10, 2.11)."
    assert Given([replace(r, machine=one) for r in results]).mixed == "" == Given(runs("sft", 1.0)).mixed


def test_where_the_locale_knows_no_arrows(tmp_path: Path) -> None:
    """Files are UTF-8 whatever the terminal is."""
    code = """
import sys
from pathlib import Path
from typing import Any
from tests.report.handmade import runs
from trajtune.report.writing import Given, write_report
write_report(Given([*runs("sft", 1.0), *runs("zero-shot", 1.0)]), Path(sys.argv[1]), ["table1", "gains", "claims"])
"""
    environ = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0", "PATH": "/usr/bin"}
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], cwd=root, env=environ, capture_output=True, timeout=120
    )
    assert done.returncode == 0, done.stderr.decode()
    assert "±" in (tmp_path / "tables" / "table1.md").read_text("utf-8")


def test_looks_differ_in_grey_and_are_given_in_order() -> None:
    found = looks(["a", "b", "c"])
    assert len({each.hatch for each in found.values()}) == len({each.marker for each in found.values()}) == 3
    assert looks(["a", "b"])["b"] == found["b"]
