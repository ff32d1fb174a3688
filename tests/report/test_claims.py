"""The paper's claims: what a contrast is, by hand, and that each verdict comes when it should and not otherwise."""

from dataclasses import replace
from typing import Any

import pytest

from tests.report.handmade import diverged, runs
from trajtune.report.claims import Answer, Claim, answer, answers, claims, claims_tables
from trajtune.report.facts import facts
from trajtune.report.index import places
from trajtune.study.results import Result

OVER_SFT = Claim("x", "a", "b", ((1.0, {"algorithm": "qp-sft"}), (-1.0, {"algorithm": "sft"})))


def said(results: list[Result], claim: Claim | str) -> Answer:
    known = facts(places(results))
    return answer(claim if isinstance(claim, Claim) else next(c for c in claims() if c.id == claim), known)


def unlike(algorithm: str, gains: tuple[float, ...], **how: Any) -> list[Result]:
    """Runs that gain otherwise in every task."""
    return [r for t, gain in enumerate(gains) for r in runs(algorithm, 10.0 + gain, **how) if r.run.task == t]


class TestVerdicts:
    def test_supported(self) -> None:
        found = said([*runs("sft", 10.0), *unlike("qp-sft", (3.0, 4.0, 5.0, 4.0))], OVER_SFT)
        assert found.verdict == "supported" and found.seeds is None
        assert found.contrasts[0].estimate.mean == pytest.approx(0.04, rel=0.01)

    def test_contradicted(self) -> None:
        assert (
            said([*runs("sft", 10.0), *unlike("qp-sft", (-3.0, -4.0, -5.0, -4.0))], OVER_SFT).verdict == "contradicted"
        )

    def test_not_decided(self) -> None:
        found = said([*runs("sft", 10.0), *unlike("qp-sft", (-3.0, 4.0, 5.0, -4.0))], OVER_SFT)
        assert (found.verdict, found.seeds) == ("not decided", None)  # tasks differ: seeds would not help

    def test_no_results(self) -> None:
        found = said(runs("sft", 10.0), OVER_SFT)
        assert (found.verdict, found.lacking, found.detail) == ("no results", ("qp-sft",), "without qp-sft")

    def test_equal_to_the_bit_is_not_better(self) -> None:
        assert said([*runs("sft", 10.0), *runs("qp-sft", 10.0)], OVER_SFT).verdict == "not decided"

    def test_a_cell_with_a_diverged_run_is_no_fair_mean(self) -> None:
        first, *rest = unlike("qp-sft", (3.0, 4.0, 5.0, 4.0))
        assert said([*runs("sft", 10.0), diverged(first), *rest], OVER_SFT).verdict == "no results"


def test_only_like_is_contrasted_with_like() -> None:
    """Of adapter there is no sft: it does not count, however good qp-sft is there."""
    results = [*runs("sft", 10.0), *runs("qp-sft", 11.0), *runs("qp-sft", 90.0, tuning="adapter")]
    assert said(results, OVER_SFT).contrasts[0].estimate.mean == pytest.approx(0.01)


def test_every_value_is_a_test_of_its_own() -> None:
    """Under full it holds, under adapter the other way round: that contradicts it."""
    ways = {"full": (10.0, 14.0), "adapter": (10.0, 6.0)}
    results = [r for t, (a, b) in ways.items() for r in (*runs("sft", a, tuning=t), *runs("qp-sft", b, tuning=t))]
    found = said(results, "qp-best")
    assert [(c.of, round(c.estimate.mean, 6)) for c in found.contrasts] == [("full", 0.04), ("adapter", -0.04)]
    assert found.verdict == "contradicted" and "without cql, dpo, grpo, ppo, qp-dpo" in found.detail


def test_steps_go_from_each_number_to_the_next() -> None:
    results = [r for n, level in ((5, 1.0), (20, 4.0), (50, 3.0)) for r in runs("sft", level, trajectories=n)]
    found = said(results, "more-is-better")
    assert {c.of: round(c.estimate.mean, 6) for c in found.contrasts} == {"sft, 5 to 20": 0.03, "sft, 20 to 50": -0.01}
    assert found.verdict == "contradicted"


def test_zero_shot_is_the_same_under_every_tuning() -> None:
    results = [*runs("zero-shot", 5.0), *runs("sft", 10.0), *runs("sft", 12.0, tuning="adapter")]
    found = said(results, "finetuning-helps")
    assert [c.of for c in found.contrasts] == ["sft"] and found.contrasts[0].estimate.mean == pytest.approx(0.06)


def test_a_difference_of_differences() -> None:
    """(8 - 5) - (7 - 6) = 2."""
    levels = {("ppo", "expert"): 8.0, ("ppo", "medium"): 5.0, ("sft", "expert"): 7.0, ("sft", "medium"): 6.0}
    results = [r for (name, quality), level in levels.items() for r in runs(name, level, quality=quality)]
    assert said(results, "rl-gains-from-experts").contrasts[0].estimate.mean == pytest.approx(0.02)


def test_a_margin_makes_no_worse_a_test() -> None:
    results = [*runs("qp-sft", 10.0, reward="sparse"), *runs("qp-sft", 12.0)]
    found = said(results, "sparse-no-worse")
    assert found.contrasts[0].estimate.mean == pytest.approx(0.03) and found.verdict == "supported"


def test_alphas_are_told_by_the_option_and_not_by_the_label() -> None:
    levels = {0.001: 1.0, 0.1: 5.0, 1.0: 7.0, 2.0: 3.0}
    results = [r for a, v in levels.items() for r in runs("qp-sft", v, label=f"alpha={a}", options={"alpha": a})]
    [found] = said(results, "alpha-moderate").contrasts
    assert found.of == "qp-sft" and found.estimate.mean == pytest.approx(0.04)


def test_sizes_of_agents_take_the_place_of_their_names() -> None:
    sizes = {"s": (10, 1.0), "m": (20, 6.0), "l": (30, 4.0)}
    results = [
        replace(r, entry=entry, agent_size=size) for entry, (size, v) in sizes.items() for r in runs("qp-dpo", v)
    ]
    [full] = said(results, "full-plateaus").contrasts
    assert full.estimate.mean == pytest.approx(0.02 + 0.05)


class TestWhatAClaimIsNotAbout:
    """Found by reading: what changed a verdict and should not."""

    def test_zero_shot_is_none_of_all_algorithms(self) -> None:
        tuned = [*runs("sft", 10.0, tuning="prompt"), *runs("sft", 20.0)]
        [alone] = said(tuned, "prompt-weak").contrasts
        [beside] = said([*runs("zero-shot", 5.0), *tuned], "prompt-weak").contrasts
        assert alone.estimate.mean == pytest.approx(0.1) == beside.estimate.mean

    def test_another_suite_has_other_numbers_of_trajectories(self) -> None:
        mine = [r for n, v in ((5, 1.0), (20, 4.0)) for r in runs("sft", v, trajectories=n)]
        other = [r for n, v in ((10, 1.0), (30, 3.0)) for r in runs("sft", v, trajectories=n, suite="cheetah-vel")]
        found = said([*mine, *other], "more-is-better")
        assert {c.of: round(c.estimate.mean, 6) for c in found.contrasts} == {
            "sft, 5 to 20, ant-dir": 0.03,
            "sft, 10 to 30, cheetah-vel": 0.02,
        }
        assert found.verdict == "supported"

    def test_each_suite_has_its_own_fewest(self) -> None:
        places = (("ant-dir", 5), ("ant-dir", 50), ("cheetah-vel", 10), ("cheetah-vel", 50))
        results = [
            r
            for suite, n in places
            for name, v in (("qp-sft", 12.0), ("sft", 10.0))
            for r in runs(name, v if n < 50 else 10.0, suite=suite, trajectories=n)
        ]
        [found] = said(results, "qp-low-data").contrasts
        assert set(found.runs) == {"ant-dir", "cheetah-vel"} and found.estimate.mean == pytest.approx(0.02)

    def test_other_numbers_of_episodes_are_compared_by_their_means(self) -> None:
        def three(r: Result) -> Result:
            return replace(r, returns=(*r.returns, sum(r.returns) / 2))

        levels = {("ppo", "expert"): 8.0, ("ppo", "medium"): 5.0, ("sft", "expert"): 7.0, ("sft", "medium"): 6.0}
        results = [
            three(r) if quality == "medium" else r
            for (name, quality), level in levels.items()
            for r in runs(name, level, quality=quality)
        ]
        assert said(results, "rl-gains-from-experts").contrasts[0].estimate.mean == pytest.approx(0.02)

    def test_what_rounding_leaves_decides_nothing(self) -> None:
        for level in (0.1, 0.7, 1.3, 3.3, 7.1):
            levels = {(n, q): level * (3 if q == "expert" else 1) for n in ("ppo", "sft") for q in ("expert", "medium")}
            results = [r for (n, q), v in levels.items() for r in runs(n, v, quality=q)]
            assert said(results, "rl-gains-from-experts").verdict == "not decided"


def test_every_claim_of_the_file_is_well_formed_and_in_the_table() -> None:
    found = answers(places(runs("sft", 1.0)))
    assert len({a.claim.id for a in found}) == len(found) >= 15
    [table] = claims_tables(places(runs("sft", 1.0)))
    assert len(table.blocks[0].rows) == len(found)
    assert claims_tables([]) == []
