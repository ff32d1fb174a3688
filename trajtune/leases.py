"""Who works on what, on one machine or on a folder that many share: a file that is held by being kept fresh.

A lease is a small file that only one process can create. Its holder touches it while it works; one that has not been
touched for ``PATIENCE`` seconds, or whose process on this machine is gone, may be taken over. Freshness is judged by
the clock of the disk that holds the file, so that machines need not agree on the time. Two processes may hold one lease
if its holder was stopped for longer than that and wakes up again: what is leased must bear being done twice.

Ours, because locks of the kernel (``flock``, under ``filelock``) are not reliable on the network disks of clusters, and
``filelock.SoftFileLock`` keeps the lock of a killed process for ever.
"""

import json
import os
import secrets
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from trajtune.files import disk_error, regular_size

PATIENCE = 120.0
"""Seconds without a touch after which a lease may be taken over."""
TOUCHES = 6
"""In this time."""
WAIT = 1.0
"""Seconds between two looks at a lease that somebody else holds."""
PROBE = ".now."
"""What the names of files begin with that are made to see a disk's clock, and gone at once."""
LIMIT = 1 << 12
"""Bytes that a lease has at most."""


@dataclass(frozen=True)
class Holder:
    """Who holds a lease, as its file says."""

    host: str
    process: int
    seconds: float
    """Since it was taken, by the clock of the disk; 0 where the file does not tell."""

    def __str__(self) -> str:
        return f"process {self.process} on {self.host}, for {self.seconds:.0f} s"


@contextmanager
def lease(path: Path) -> Iterator[bool]:
    """Try to take a lease for as long as the block lasts: yields whether it was free."""
    token = secrets.token_hex(8)
    if not _take(path, token):
        yield False
        return
    done = threading.Event()
    toucher = threading.Thread(target=_touch, args=(path, done), daemon=True)
    toucher.start()
    try:
        yield True
    finally:
        done.set()
        toucher.join()
        if _read(path).get("token") == token:  # else another has taken it over
            path.unlink(missing_ok=True)


@contextmanager
def held(path: Path) -> Iterator[None]:
    """Hold a lease for as long as the block lasts; wait until it is free."""
    while True:
        with lease(path) as mine:
            if mine:
                yield
                return
        time.sleep(WAIT)


def holder(path: Path) -> Holder | None:
    """Return who holds a lease now; None if it is free, or may be taken over."""
    try:
        touched = path.stat().st_mtime
    except OSError:
        return None
    told = _read(path)
    here = told.get("host") == socket.gethostname()
    now = now_on(path.parent)
    if now - touched > PATIENCE or (here and not _alive(int(told["process"]))):
        return None
    if not told:  # its holder is about to write it, or was killed before it could
        return Holder("?", 0, now - touched)
    return Holder(str(told["host"]), int(told["process"]), max(0.0, now - float(told["since"])))


def _read(path: Path) -> dict[str, str]:
    """What a lease says; nothing where it says nothing that can be understood."""
    try:
        if regular_size(path) > LIMIT:
            return {}
        value = json.loads(path.read_text())
        return {"host": str(value["host"]), "token": str(value["token"])} | {
            "process": str(int(value["process"])),
            "since": str(float(value["since"])),
        }
    except (OSError, ValueError, TypeError, KeyError, RecursionError, OverflowError):
        return {}


def _take(path: Path, token: str) -> bool:
    if _create(path, token):
        return True
    if holder(path) is not None:
        return False
    # Whoever moves a stale lease away may take it; that it is the stale one is looked at again, since another may have
    # been faster and hold a fresh one by now.
    moved = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        os.rename(path, moved)
    except FileNotFoundError:
        return _create(path, token)
    except OSError as error:
        raise disk_error(path, error) from error
    fresh = holder(moved) is not None
    if fresh:
        with suppress(OSError):  # who came in between has it, and both work: see above
            os.link(moved, path)
    moved.unlink(missing_ok=True)
    return not fresh and _create(path, token)


def _create(path: Path, token: str) -> bool:
    """Make the file, if there is none."""
    flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise disk_error(path, error) from error
    try:
        descriptor = os.open(path, flags, 0o644)
    except FileExistsError:
        return False
    except FileNotFoundError:  # the folder was tidied away in between
        return False
    except OSError as error:
        raise disk_error(path, error) from error
    about = {"host": socket.gethostname(), "process": os.getpid(), "token": token}
    try:
        os.write(descriptor, json.dumps({**about, "since": os.fstat(descriptor).st_mtime}).encode())
    except OSError as error:
        path.unlink(missing_ok=True)
        raise disk_error(path, error) from error
    finally:
        os.close(descriptor)
    return True


def _touch(path: Path, done: threading.Event) -> None:
    while not done.wait(PATIENCE / TOUCHES):
        with suppress(OSError):
            os.utime(path)


def now_on(folder: Path) -> float:
    """Return the time, in seconds, by the clock of the disk that a folder is on."""
    probe = folder / f"{PROBE}{secrets.token_hex(4)}"
    try:
        probe.touch()
        return probe.stat().st_mtime
    except OSError:  # one may look at what one may not write to: then our own clock has to do
        return time.time()
    finally:
        with suppress(OSError):
            probe.unlink()


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):  # it is another user's, or no process has such a number
        return process > 0
    return process > 0
