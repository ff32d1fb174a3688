"""Worker processes of one thread each, supervised: one that dies is replaced, and only its job knows of it.

Ours, because what there is shares something between workers that a dying one can take with it. ``concurrent.futures``
and loky (under joblib) break the whole pool and fail every job in flight. pebble names the job, but its workers take
turns at two shared locks, and who is killed while it holds one stops the others until a timeout. Here every worker has
a pipe of its own and nothing else: a death is the end of its pipe, and no lock exists that could be held or leaked.
"""

import multiprocessing
import os
import pickle
import signal
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from typing import Any, NamedTuple, Self

from trajtune.errors import DivergedError, UserError

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
STARTS = 3
"""Workers in a row that may die before they are ready: then it is not the job's fault."""
PATIENCE = 5.0
"""Seconds that a worker has to leave when it is asked to."""


class WorkerDiedError(Exception):
    """A worker ended in the middle of a job: one line that says how."""


class Outcome(NamedTuple):
    """What became of a job: a value, or the exception that it raised (``WorkerDiedError`` if its worker died)."""

    job: int
    value: Any
    error: Exception | None


def count_workers(asked: int) -> int:
    """Return how many workers to start: as many as asked for, or for 0 one a core that this process may use."""
    if asked < 0:
        raise UserError(f"workers must be at least 1, or 0 for one a core, got {asked}")
    cores = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1)
    return asked or len(cores)


Map = Callable[[Callable[[Any], Any], Iterable[Any]], Iterable[Any]]


@contextmanager
def worker_pool(workers: int) -> Iterator[Map]:
    """Yield a ``map`` over that many processes (in this one if there is to be one); results come in order.

    The first job that fails ends it with its exception, and a worker that dies with a ``UserError``. Whatever ends the
    block early ends the workers at once.
    """
    if workers <= 1:
        yield map
        return
    with Pool(workers) as pool:
        yield lambda function, jobs: _in_order(pool.outcomes(function, jobs))


def _in_order(outcomes: Iterator[Outcome]) -> Iterator[Any]:
    waiting: dict[int, Any] = {}
    following = 0
    for outcome in outcomes:
        if isinstance(outcome.error, WorkerDiedError):
            raise UserError(f"{outcome.error}; the same command goes on") from None
        if outcome.error is not None:
            raise outcome.error
        waiting[outcome.job] = outcome.value
        while following in waiting:
            yield waiting.pop(following)
            following += 1


class Pool:
    """Processes that do jobs beside each other. As a context manager, it leaves none behind.

    They are spawned: a script needs ``if __name__ == "__main__":``.
    """

    def __init__(self, workers: int) -> None:
        self._limit = workers
        self._workers: list[_Worker] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        for worker in self._workers:
            worker.process.terminate()  # time to put away what its libraries hold (tqdm: a semaphore)
        for worker in self._workers:
            worker.end()

    def outcomes(self, function: Callable[[Any], Any], jobs: Iterable[Any], attempts: int = 1) -> Iterator[Outcome]:
        """Do every job and yield what became of each as it is done; ``job`` is its place in ``jobs``.

        A job that raises or whose worker dies is begun ``attempts`` times in all. A ``UserError`` or a divergence is
        its answer: trying again would change nothing.
        """
        every = list(jobs)
        todo, tried, busy = deque(range(len(every))), [0] * len(every), dict[_Worker, int]()
        while todo or busy:
            self._employ(min(self._limit, len(todo) + len(busy)))
            for worker in self._workers:
                if worker.ready and worker not in busy and todo:
                    busy[worker] = todo.popleft()
                    tried[busy[worker]] += 1
                    worker.send((function, every[busy[worker]]))
            by_pipe: dict[Any, _Worker] = {worker.pipe: worker for worker in self._workers}
            for worker in [by_pipe[pipe] for pipe in wait(list(by_pipe))]:
                answer = worker.receive()
                if answer is None and worker not in busy:  # ready
                    continue
                job = busy.pop(worker)
                value, error = answer if answer is not None else (None, WorkerDiedError(worker.epitaph()))
                final = error is None or isinstance(error, UserError | DivergedError)
                if final or tried[job] >= attempts:
                    yield Outcome(job, value, error)
                else:
                    todo.append(job)

    def _employ(self, wanted: int) -> None:
        """Replace the dead, and start as many as there is work for."""
        self._workers = [worker for worker in self._workers if not worker.dead]
        while len(self._workers) < wanted:
            self._workers.append(_Worker())


class _Worker:
    """The parent's side of one worker."""

    stillborn = 0  # how many in a row died before they were ready

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.ready = self.dead = False
        self.process = context.Process(target=_serve, args=(theirs,), daemon=True)
        with _as_a_worker_starts():
            self.process.start()
        theirs.close()  # or its death would not be the end of the pipe

    def send(self, message: Any) -> None:
        with suppress(OSError):  # it has died: heard of in a moment
            self.pipe.send(message)

    def receive(self) -> tuple[Any, Exception | None] | None:
        """Return its answer; None when it has said that it is ready, or has died."""
        try:
            answer: tuple[Any, Exception | None] | None = self.pipe.recv()
        except (EOFError, OSError):
            return self._bury()  # type: ignore[func-returns-value]
        if not self.ready:
            self.ready, _Worker.stillborn = True, 0
        return answer

    def _bury(self) -> None:
        self.process.join()
        self.pipe.close()
        self.dead = True
        _Worker.stillborn += not self.ready
        if _Worker.stillborn >= STARTS:
            _Worker.stillborn = 0
            raise UserError(
                f"{STARTS} workers in a row could not start: out of memory, or begun by a script that does not guard "
                "its calls with if __name__ == '__main__'"
            )

    def epitaph(self) -> str:
        """Say how it ended."""
        if (code := self.process.exitcode or 0) >= 0:
            return f"a worker process ended with exit code {code}"
        name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
        why = " (killed, or out of memory)" if name == "SIGKILL" else ""
        return f"a worker process died of {name}{why}"

    def end(self) -> None:
        """Do not wait for long."""
        self.process.join(PATIENCE)
        self.process.kill()
        self.process.join()
        self.pipe.close()


@contextmanager
def _as_a_worker_starts() -> Iterator[None]:
    """One thread for its libraries, and no traceback when Ctrl-C reaches the whole group: the parent hears it."""
    before = {name: os.environ[name] for name in THREADS if name in os.environ}
    os.environ.update(dict.fromkeys(THREADS, "1"))
    masks = hasattr(signal, "pthread_sigmask") and threading.current_thread() is threading.main_thread()
    if masks:
        resource_tracker.ensure_running()  # which would lift the mask if it began below
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        if masks:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        for name in THREADS:
            del os.environ[name]
        os.environ.update(before)


def _serve(pipe: Connection) -> None:
    """A worker's life."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # where there are no masks
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    threading.Thread(target=_follow_parent, daemon=True).start()
    pipe.send(None)
    while True:
        try:
            function, job = pipe.recv()
        except EOFError:
            return
        try:
            answer: tuple[Any, Exception | None] = function(job), None
        except Exception as error:
            answer = None, _portable(error)
        try:
            pipe.send(answer)
        except (pickle.PicklingError, AttributeError, TypeError) as error:
            pipe.send((None, _portable(error)))


def _follow_parent() -> None:
    """End with the process that started this one, even if that was killed: an orphan would wait for work for ever."""
    if (parent := multiprocessing.parent_process()) is not None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(PATIENCE)
        os._exit(1)


def _portable(error: Exception) -> Exception:
    """Return an exception that survives the pipe, and what was going on where it was raised."""
    error.add_note("in a worker process:\n" + "".join(traceback.format_exception(error)))
    try:
        pickle.loads(pickle.dumps(error))
        return error
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")
