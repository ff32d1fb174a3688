"""Trials that Optuna proposes: asked one after another for every algorithm x tuning, judged seed by seed, told."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from trajtune.study.choosing import Arm, Trial
from trajtune.study.selection import Choice, Selection

JOURNAL = "journal.log"
"""Optuna's own, in the folder of the selection: ``optuna.load_study`` reads it."""
FIRST = 5
"""Trials without pruning."""

Judge = Callable[[Sequence[tuple[Arm, Trial]], Sequence[int]], None]


def sampled(selection: Selection, arms: list[Arm], place: Path, judge: Judge) -> list[list[Trial]]:
    """Return the trials of every arm. All arms ask at once, so that their runs fill the workers.

    Every trial has a sampler of its own, seeded by its number: a selection that was stopped asks for the same again.
    """
    import optuna
    from optuna.storages.journal import JournalFileBackend
    from optuna.trial import TrialState

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    place.mkdir(parents=True, exist_ok=True)
    storage = optuna.storages.JournalStorage(JournalFileBackend(str(place / JOURNAL)))
    pruner: Any = optuna.pruners.NopPruner()
    if selection.prune:
        pruner = optuna.pruners.MedianPruner(n_startup_trials=FIRST)
    studies = [
        optuna.create_study(
            storage=storage, study_name=f"{a}-{t}-{i}", direction="maximize", pruner=pruner, load_if_exists=True
        )
        for i, (a, t, _) in enumerate(arms)
    ]
    tried: list[list[Trial]] = [[] for _ in arms]
    for number in range(selection.trials):
        asked = [_Asked(optuna, *each, selection, number) for each in zip(studies, arms, strict=True)]
        now = [Trial(number, each.values) for each in asked]
        going = set(range(len(arms)))
        for rung in range(len(selection.seeds)):
            last = rung == len(selection.seeds) - 1
            if not going or not (selection.prune or last):
                continue
            judge([(arms[i], now[i]) for i in sorted(going)], selection.seeds[: rung + 1])
            for i in sorted(going):
                if now[i].state == "diverged":
                    going.discard(i)
                elif not last and asked[i].out(now[i].score, rung):
                    now[i].state = "pruned"
                    going.discard(i)
        for i, trial in enumerate(now):
            value = trial.score if trial.state == "complete" else None
            state = TrialState[{"complete": "COMPLETE", "pruned": "PRUNED", "diverged": "FAIL"}[trial.state]]
            studies[i].tell(number, value, state, skip_if_finished=True)
            tried[i].append(trial)
    return tried


class _Asked:
    """One of Optuna's trials: asked for anew, or as a driver left it that was killed or had finished it."""

    def __init__(self, optuna: Any, study: Any, arm: Arm, selection: Selection, number: int) -> None:
        known = study.get_trials(deepcopy=False)
        self._before = known[number] if number < len(known) else None
        if self._before is not None:
            self._trial = optuna.trial.Trial(study, self._before._trial_id)
        else:
            samplers = {"random": optuna.samplers.RandomSampler, "tpe": optuna.samplers.TPESampler}
            study.sampler = samplers[selection.sampler](seed=(selection.seed * 1_000_003 + number) % 2**32)
            asked = {name: _distribution(optuna, choice) for name, choice in arm[2].options.items()}
            self._trial = study.ask(asked)
        self.values = dict(self._trial.params)

    def out(self, score: float, rung: int) -> bool:
        """Report what it has reached after a rung; return whether it is to be left out."""
        reached = {} if self._before is None else self._before.intermediate_values
        if self._before is not None and self._before.state.is_finished():
            return self._before.state.name == "PRUNED" and rung == max(reached)
        if rung not in reached:
            self._trial.report(score, rung)
        return bool(self._trial.should_prune())


def _distribution(optuna: Any, choice: Choice) -> Any:
    if choice.grid:
        return optuna.distributions.CategoricalDistribution(choice.grid)
    whole = isinstance(choice.low, int) and isinstance(choice.high, int)
    kind = optuna.distributions.IntDistribution if whole else optuna.distributions.FloatDistribution
    return kind(choice.low, choice.high, log=choice.log)
