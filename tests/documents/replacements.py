"""How documents are made cheap enough to run: everything that is replaced in a block before it runs, and nowhere else.

Budgets and sizes are made tiny, and a story may put one suite's name in place of another's. What stands in the
documents is otherwise run as it is.
"""

from dataclasses import dataclass

BUDGETS: dict[str, dict[str, str]] = {
    "collect": {"--trajectories": "6", "--workers": "1"},
    "pretrain": {"--steps": "3", "--batch": "4", "--set": "width=16", "--precision": "fp32"},
    "finetune": {"--steps": "2", "--batch": "4", "--trajectories": "5", "--precision": "fp32"},
    "evaluate": {"--episodes": "2", "--precision": "fp32"},
    "study": {"--workers": "1"},
}
"""Options that a ``trajtune`` command gets, in place of its own or added to it."""

NEVER = {"demo": "it has tests of its own, and its smallest run takes a minute"}
"""``trajtune`` commands that are only parsed."""

PYTHON: list[tuple[str, str]] = [
    (r"\bsteps=\d+", "steps=2"),
    (r"\bbatch=\d+", "batch=4"),
    (r"\bepisodes=\d+", "episodes=2"),
    (r"\b(count|trajectories)=\d+", r"\1=5"),
    (r"\bworkers=\d+", "workers=1"),
]
"""Regular expressions and what they become, in Python blocks."""

FILES: list[tuple[str, str]] = [
    (r"\bsteps: \d+", "steps: 2"),
    (r"\bbatch: \d+", "batch: 4"),
    (r"\bepisodes: \d+", "episodes: 2"),
    (r"\bpoints: \d+", "points: 0"),
    (r"\btrajectories: \d+", "trajectories: 5"),
    (r"\bseeds: \[[^\]]*\]", "seeds: [0]"),
    (r"\btasks: (test|train|all)\b", "tasks: [5]"),
    (r"\[sft, ppo\]", "[sft, dpo]"),  # whose critic takes a while to warm up
]
"""The same in blocks that are written to a file (``<!-- test: file PATH -->``)."""

OUTSIDE = {
    "make": "the target must be in the Makefile; CI runs those that matter",
    "python": "the file must exist",
    "pip": "the environment is the test run's own",
    "source": "the environment is the test run's own",
    "git": "there is nothing to clone from",
    "cd": "a story has one folder",
}
"""Programs that are not run, and why."""


@dataclass(frozen=True)
class Setup:
    """How a story begins: assets and files copied, commands run (all made once), and words replaced in its blocks."""

    copies: tuple[tuple[str, str], ...] = ()
    """Pairs (folder in ``trajtune/assets``, folder in the story)."""
    files: tuple[str, ...] = ()
    """Files of the repository that the story has, too, with the replacements of ``FILES``."""
    commands: tuple[str, ...] = ()
    words: tuple[tuple[str, str], ...] = ()


POINT_WORDS = (("cheetah-vel", "point"), ("--task 15", "--task 5"), ("task=15", "task=5"))
SETUPS: dict[str, Setup] = {
    "empty": Setup(),
    # What a document does with cheetah-vel from nothing, done with the point suite.
    "point-from-nothing": Setup(words=POINT_WORDS),
    # The same with agent and data made: data/point, runs/agent.
    "point": Setup(
        commands=(
            "trajtune collect point --out data/point",
            "trajtune pretrain --data data/point --out runs/agent",
        ),
        words=POINT_WORDS,
    ),
    # The agent and data that the package ships (data/cheetah-vel, runs/agent), and the first study.
    "shipped": Setup(
        copies=(
            ("cheetah-vel/agent", "runs/agent"),
            ("cheetah-vel/data", "data/cheetah-vel"),
        ),
        files=("trajtune/study/presets/first.yaml",),
        words=(
            ("study first ", "study trajtune/study/presets/first.yaml "),
        ),  # the same study, whose budget can be made small
    ),
    # The same where the guide's study looks for them.
    "study": Setup(copies=(("cheetah-vel/agent", "runs/agents/cheetah-vel"), ("cheetah-vel/data", "data/cheetah-vel"))),
}
