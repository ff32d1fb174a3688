"""Runs on a SLURM cluster, by submitit: a few long jobs, each a driver of its own, that share the study's folder."""

import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from trajtune.errors import UserError, first_line
from trajtune.leases import WAIT, now_on
from trajtune.processes import Outcome
from trajtune.progress import Progress
from trajtune.study.declaration import Study
from trajtune.study.driving import STAGE, declared_in, drive, prepare
from trajtune.study.jobs import Job, accounted
from trajtune.study.runners.configs import SlurmConfig
from trajtune.study.runners.local import apart, outcomes

LOGS = "slurm"
"""Where, in a study's folder, submitit keeps what its jobs are and what they print."""
SHARDS = 10
"""How many jobs there are where nobody says."""
PATIENCE = 60.0
"""Seconds that jobs have to end when nothing is left to do; after that nobody waits for them."""
LOOK = 5.0
"""Seconds between two looks at what has been done."""


def run_slurm(study: Study, folder: Path, workers: int, progress: Progress, config: SlurmConfig) -> None:
    """Queue ``workers`` long jobs (0: ten) that do the study's runs between them, and wait until all is done.

    Each takes runs by leases, so jobs may start when they like, die, and be queued again. Who stops waiting stops none
    of them; the same call waits again, with as many more jobs. If all jobs end and runs are left, that is a
    ``UserError`` that says why.
    """
    try:
        import submitit
    except ImportError:
        raise UserError("--on slurm needs submitit: pip install -c constraints.txt 'trajtune[slurm]'") from None
    since = now_on(folder)
    jobs, missing = prepare(study, folder, progress, config.device, since)
    progress(STAGE, len(jobs) - len(missing), len(jobs))
    if not missing:
        return
    try:
        executor = submitit.AutoExecutor(folder / LOGS, cluster=config.cluster)
        executor.update_parameters(**_asked(config))
        shards = min(workers or SHARDS, len(missing))
        with executor.batch():
            told = str(folder.absolute()), shards, config.cpus, config.device, since
            queued = [executor.submit(Shard(), i, *told) for i in range(shards)]
    except (RuntimeError, OSError, ValueError) as error:
        raise UserError(f"the jobs cannot be queued: {first_line(error)}") from None
    ended = False
    while (missing := [job for job in missing if not accounted(job)]) and not ended:
        progress(STAGE, len(jobs) - len(missing), len(jobs))
        ended = all(job.done() for job in queued)  # then a last look at what they have left
        time.sleep(0.0 if ended else LOOK)
    if missing:
        said = [str(found) for job in queued if (found := job.exception()) is not None]
        why = _why(said[0]) if said else "they ended early"
        raise UserError(f"{len(missing)} runs are left and no job is at work: {why} (logs are in {folder / LOGS})")
    _let_end(queued)
    progress(STAGE, len(jobs), len(jobs))


def _let_end(queued: list[Any]) -> None:
    """Cancel jobs that have not begun, for others were faster; those at work find nothing left, tidy up and end."""
    deadline = time.monotonic() + PATIENCE
    while (left := [job for job in queued if not job.done()]) and time.monotonic() < deadline:
        for job in left:
            if job.state == "PENDING":
                job.cancel(check=False)
        time.sleep(WAIT)


def _why(text: str) -> str:
    """The last line of a trace that submitit quotes between dashes, or of all that it says."""
    parts = re.split(r"^-{5,}$", text, flags=re.MULTILINE)
    lines = (parts[1] if len(parts) > 2 else text).strip().splitlines()
    return lines[-1].strip() if lines else "they ended early"


def _asked(config: SlurmConfig) -> dict[str, Any]:
    """In submitit's words."""
    more = {"partition": config.partition} if config.partition else {}
    asked = {
        "name": "trajtune",
        "timeout_min": config.minutes,
        "mem_gb": config.memory_gb,
        "cpus_per_task": config.cpus,
        "gpus_per_node": config.gpus,
        "slurm_additional_parameters": {**more, **config.extra},
    }
    return asked


class Shard:
    """One long job: it takes runs that nobody is at until none are left. Preempted, it is queued again as it was."""

    def __call__(
        self, number: int, folder: str, shards: int, processes: int, device: str, since: float | None = None
    ) -> None:
        where = Path(folder)

        def runner(jobs: list[Job]) -> Iterator[tuple[Job, Outcome]]:
            first = len(jobs) * number // shards  # another place for everyone to begin at
            return outcomes(apart(jobs[first:] + jobs[:first], processes), processes)

        drive(declared_in(where), where, runner, device=device, since=since)

    def checkpoint(self, *arguments: Any) -> Any:
        """What submitit asks for when the job is about to be stopped: the same again."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self, *arguments)
