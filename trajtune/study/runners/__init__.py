"""Where the runs of a study are done: processes on this machine, a Ray cluster, SLURM. Entry points add others."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trajtune.configs import override
from trajtune.errors import UserError
from trajtune.progress import Progress, silent
from trajtune.registry import Registry, resolve
from trajtune.study.choosing import chosen
from trajtune.study.declaration import Study
from trajtune.study.logs import Logs
from trajtune.study.runners.configs import LocalConfig, RayConfig, SlurmConfig


@dataclass(frozen=True)
class RunnerEntry:
    """What a runner is in a word, its config, and where it is (``module:function``).

    The function is called with ``(study, folder, workers, progress, config)`` and returns when every run of the study
    has a result in the folder; ``driving.drive`` is most of it.
    """

    summary: str
    config: type[Any]
    build: str
    here: bool = False
    """Whether its workers are processes of this machine, where one a core is what one wants."""


LOCAL = "local"
RUNNERS = Registry(
    "runner",
    "trajtune.runners",
    RunnerEntry,
    {
        LOCAL: RunnerEntry("processes on this machine", LocalConfig, "trajtune.study.runners.local:run_local", True),
        "ray": RunnerEntry("tasks on a Ray cluster", RayConfig, "trajtune.study.runners.ray:run_ray"),
        "slurm": RunnerEntry("long jobs on a SLURM cluster", SlurmConfig, "trajtune.study.runners.slurm:run_slurm"),
    },
)


def run_study(
    study: Study,
    folder: Path | str,
    workers: int = 0,
    progress: Progress = silent,
    on: str = LOCAL,
    options: Mapping[str, Any] | None = None,
    log: Sequence[str] = (),
) -> None:
    """Run every cell of ``study`` on every task that has no result in ``folder`` yet; see ``driving.drive``.

    Results do not depend on where they are done, nor on ``workers``. On this machine that is how many processes of one
    thread there are, where one that dies is replaced, or, with 0, none but this one; a script that asks for workers
    needs ``if __name__ == "__main__":``. ``on`` names a runner, ``options`` overrides fields of its config. What the
    study's selection has to choose is chosen first, with the same runner. ``log`` names loggers, which are given
    every result's curve as it comes.
    """
    entry = RUNNERS[on]
    config = override(entry.config(), options or {}, f"runner {on}")
    if workers < 0:
        raise UserError(f"workers must not be negative, got {workers}")

    logs = Logs(Path(folder), log)

    def run(each: Study, where: Path, told: Progress = progress) -> None:
        resolve(entry.build)(each, where, workers, told, config)

    def logging(stage: str, done: int, total: int, metrics: Mapping[str, float] = {}, /) -> None:
        progress(stage, done, total, metrics)
        logs.look()

    run(chosen(study, Path(folder), run), Path(folder), logging)
    logs.update()
