"""What a suite must have and what it may: defaults, a horizon a task, checks of its own, suites of other packages."""

from dataclasses import replace
from importlib.metadata import EntryPoint
from typing import Any

import numpy as np
import pytest

from trajtune import registry
from trajtune.errors import UserError
from trajtune.experts.sources import sources_of
from trajtune.registry import Registry
from trajtune.suites import MAKERS, SUITES, Entry, get_suite
from trajtune.suites.base import Env, Suite, Task


def nothing(task: Task) -> Env:
    raise NotImplementedError


LEAST = Suite("least", "nothing but its duties", 3, 1, 7, (Task(0, "a"), Task(1, "b")), (0,), (1,), nothing)


def test_the_least_a_suite_must_be_has_every_capability_missing() -> None:
    assert LEAST.relabel is None and not LEAST.has_success and not LEAST.references and not LEAST.experts
    assert LEAST.metric == "return" and LEAST.expert_updates == 0
    assert LEAST.horizon(0) == LEAST.horizon(1) == LEAST.longest == 7
    observation = np.arange(3.0)
    assert LEAST.view(observation) is observation


def test_a_horizon_a_task() -> None:
    suite = replace(LEAST, horizons=(5, 9))
    assert [suite.horizon(task) for task in (0, 1)] == [5, 9] and suite.longest == 9


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"tasks": ()}, "tasks must be numbered from 0"),
        ({"tasks": (Task(1, "a"), Task(0, "b"))}, "tasks must be numbered from 0"),
        ({"test": (1, 2)}, "its splits name task 2, which it does not have"),
        ({"horizons": 0}, "horizons must be a number from 1"),
        ({"horizons": (5,)}, "one for each of 2 tasks"),
        ({"horizons": (5, 0)}, "horizons must be a number from 1"),
        ({"metric": "success"}, "its metric is success"),
    ],
)
def test_a_suite_that_contradicts_itself_is_one_line(change: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=f"suite least: .*{words}") as caught:
        replace(LEAST, **change)
    assert "\n" not in str(caught.value)


def test_sources_of_experts_follow_the_capabilities() -> None:
    assert list(sources_of(LEAST)) == ["per-task", "random"]
    assert list(sources_of(get_suite("ant-dir"))) == ["shipped", "goal-conditioned", "per-task", "random"]
    point = get_suite("point")
    assert list(sources_of(point)) == ["scripted", "goal-conditioned", "per-task", "random"]
    own = replace(point, experts={"per-task": point.experts["scripted"]})
    assert sources_of(own)["per-task"] is point.experts["scripted"]  # a suite's own comes first


def test_references_are_a_capability() -> None:
    assert set(get_suite("cheetah-vel").references) == set(get_suite("ant-dir").references) == set(range(50))
    assert not get_suite("point").references


# The table


@pytest.mark.parametrize("entry", [*SUITES.values(), *MAKERS.values()])
def test_every_entry_leads_somewhere(entry: Entry) -> None:
    assert callable(registry.resolve(entry.make))
    assert entry.summary and "\n" not in entry.summary


LEAST_ENTRY = Entry(LEAST.summary, "tests.suites.test_contract:make_least")


def make_least() -> Suite:
    return LEAST


def test_a_suite_of_another_package(monkeypatch: pytest.MonkeyPatch) -> None:
    def found(group: str) -> list[EntryPoint]:
        assert group == "trajtune.suites"
        here = "tests.suites.test_contract"
        return [
            EntryPoint("least", f"{here}:LEAST_ENTRY", group),
            EntryPoint("absent", f"{here}:NOWHERE", group),
            EntryPoint("point", f"{here}:LEAST_ENTRY", group),
        ]

    monkeypatch.setattr(registry, "entry_points", found)
    table = Registry("suite", "trajtune.suites", Entry, {"point": SUITES["point"]})
    monkeypatch.setattr("trajtune.suites.SUITES", table)
    assert get_suite("least").name == "least"
    assert get_suite("point").name == "point"  # our names cannot be taken
    assert list(table) == ["point", "least"]
    with pytest.raises(UserError, match="suite absent of another package does not load"):
        get_suite("absent")


def test_an_entry_that_leads_nowhere_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    for make in ("trajtune.suites.point:pint", "no_such_package:suite"):
        table = Registry("suite", "none", Entry, {"lost": Entry("lost", make)})
        monkeypatch.setattr("trajtune.suites.SUITES", table)
        with pytest.raises(UserError, match=f"{make} cannot be loaded: "):
            get_suite("lost")
