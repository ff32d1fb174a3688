"""Runs as tasks on a Ray cluster: an existing one, or one on this machine."""

import math
import socket
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from trajtune.errors import DivergedError, UserError, first_line
from trajtune.processes import Outcome, WorkerDiedError
from trajtune.progress import Progress
from trajtune.shipped import ASSET
from trajtune.study.declaration import FilledSource, Study
from trajtune.study.driving import drive
from trajtune.study.jobs import Job, do
from trajtune.study.runners.configs import ATTEMPTS, RayConfig
from trajtune.study.runners.local import apart


def run_ray(study: Study, folder: Path, workers: int, progress: Progress, config: RayConfig) -> None:
    """Run a study as tasks on a cluster, ``workers`` at a time; 0 is as many as it has room for.

    Nodes may come and go. A task whose node dies is begun again elsewhere; its lease is free when its holder has been
    silent for long enough. A driver that dies takes its tasks with it, and the same call goes on.
    """
    try:
        import ray
    except ImportError:
        raise UserError("--on ray needs Ray: pip install -c constraints.txt 'trajtune[ray]'") from None
    ours = not ray.is_initialized()
    if ours:
        _connect(ray, config, workers)
    try:
        tried: Counter[Path] = Counter()

        def runner(jobs: list[Job]) -> Iterator[tuple[Job, Outcome]]:
            return _outcomes(ray, apart(jobs, workers or 1), workers, config, tried)

        drive(study, folder, runner, progress, config.device)
    finally:
        if ours:
            ray.shutdown()


def _connect(ray: Any, config: RayConfig, workers: int) -> None:
    quiet = {"log_to_driver": False, "logging_level": "ERROR"}
    host, _, port = config.address.partition(":")
    try:
        if port.isdecimal():  # Ray itself would try for minutes
            socket.create_connection((host, int(port)), timeout=5.0).close()
        if config.address:
            ray.init(address=config.address, **quiet)
        else:
            ray.init(
                address="local", num_cpus=math.ceil(workers * config.cpus) or None, include_dashboard=False, **quiet
            )
    except (RuntimeError, ValueError, OverflowError, OSError) as error:
        raise UserError(f"no Ray cluster at {config.address or 'this machine'}: {first_line(error)}") from None
    if not config.address:  # a cluster may grow; this one does not, and Ray would wait for ever
        there, asked = (
            ray.cluster_resources(),
            {"CPU": config.cpus, "GPU": config.gpus, "memory": config.memory_mb << 20},
        )
        for name, amount in asked.items():
            if amount > there.get(name, 0.0):
                raise UserError(f"a run asks for {amount:g} of {name}, this machine has {there.get(name, 0.0):g}")


def _outcomes(
    ray: Any, jobs: list[Job], workers: int, config: RayConfig, tried: Counter[Path]
) -> Iterator[tuple[Job, Outcome]]:
    """``tried`` says how often each run has ended badly, also in passes before: a lease may have kept it waiting."""
    needs: dict[str, Any] = {"num_cpus": config.cpus, "num_gpus": config.gpus, "max_retries": 0}
    if config.memory_mb:
        needs["memory"] = config.memory_mb << 20
    task = ray.remote(**needs)(do)
    todo, busy = deque(range(len(jobs))), dict[Any, int]()
    while todo or busy:
        room = workers or max(1, int(ray.cluster_resources().get("CPU", 1.0) / config.cpus))
        while todo and len(busy) < room:
            number = todo.popleft()
            busy[task.remote(_absolute(jobs[number]))] = number
        for ready in ray.wait(list(busy), timeout=10.0)[0]:
            number = busy.pop(ready)
            value, error = _answer(ray, ready)
            tried[jobs[number].path] += error is not None
            if error is None or isinstance(error, UserError | DivergedError) or tried[jobs[number].path] >= ATTEMPTS:
                yield jobs[number], Outcome(number, value, error)
            else:
                todo.append(number)


def _answer(ray: Any, ready: Any) -> tuple[Any, Exception | None]:
    """What a task returned, or what it raised, as it would have here."""
    try:
        return ray.get(ready), None
    except ray.exceptions.RayTaskError as error:
        cause = error.cause
        return None, cause if isinstance(cause, Exception) else error
    except ray.exceptions.RayError as error:  # its worker or its node died, or was out of memory
        return None, WorkerDiedError(f"a Ray worker died: {first_line(error)}")


def _absolute(job: Job) -> Job:
    """Return a job that means the same wherever a node's workers stand."""
    agent, data = (
        each if str(each).startswith(ASSET) else each.absolute() for each in (job.source.agent, job.source.data)
    )
    return replace(
        job,
        source=FilledSource(agent, data),
        path=job.path.absolute(),
        delta=None if job.delta is None else job.delta.absolute(),
        lease=job.lease.absolute(),
        critics=job.critics.absolute(),
    )
