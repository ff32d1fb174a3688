"""Worker processes of one thread each."""

import os
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import active_children, get_context, parent_process
from typing import Any

from trajtune.errors import UserError


def count_workers(asked: int) -> int:
    """Return how many workers to start: as many as asked for, or one a core for 0."""
    if asked < 0:
        raise UserError(f"workers must be at least 1, or 0 for one a core, got {asked}")
    return asked or os.cpu_count() or 1


Map = Callable[[Callable[[Any], Any], Iterable[Any]], Iterable[Any]]


def _follow_parent() -> None:
    """End with the process that started this one, even if that was killed: an orphan would wait for work for ever."""

    def watch() -> None:
        if (parent := parent_process()) is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


@contextmanager
def worker_pool(workers: int) -> Iterator[Map]:
    """Yield a ``map`` over that many processes (in this one if there is to be one); results come in order.

    Whatever ends the block early ends the workers at once.
    """
    if workers <= 1:
        yield map
        return
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(dict.fromkeys(names, "1"))  # read by the workers when they load their libraries
    others = set(active_children())
    executor = ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=_follow_parent)
    try:
        yield executor.map
    except BaseException as error:  # Ctrl-C, too: nobody wants to wait for what the workers have begun
        for child in set(active_children()) - others:
            child.terminate()
        if isinstance(error, BrokenProcessPool):
            raise UserError(
                "a worker process died: killed, out of memory, or begun by a script that does not guard its calls "
                "with if __name__ == '__main__'; the same command goes on"
            ) from None
        raise
    finally:
        executor.shutdown(cancel_futures=True)
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
