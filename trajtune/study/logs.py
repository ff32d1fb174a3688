"""Curves of a study's runs for whoever watches them elsewhere: every result is logged once, as a run of its own."""

import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from trajtune.artifacts import plain
from trajtune.files import append_line
from trajtune.loggers import LOGGERS, open_logger
from trajtune.study.results import Result, read_result
from trajtune.study.stored import RESULTS

LOGGED = "logged"
"""Folder, in a study's, of what has been logged: by logger, the places of results."""
EVERY = 5.0
"""Seconds between two looks at what is new."""


class Logs:
    """The loggers of a study's folder."""

    def __init__(self, folder: Path, names: Sequence[str]) -> None:
        self._folder = folder
        self._lists = {name: folder / LOGGED / f"{name}.txt" for name in names if LOGGERS[name]}  # else a UserError
        self._seen = {n: set(p.read_text().splitlines()) if p.exists() else set() for n, p in self._lists.items()}
        self._looked = -EVERY

    def look(self) -> None:
        """Log what is new, unless that was done a moment ago: a large study's folder takes a while to go through."""
        if time.monotonic() - self._looked >= EVERY:
            self.update()

    def update(self) -> None:
        """Log every result that is new. One that failed is left out: it will be tried again."""
        for path in sorted(self._folder.glob(RESULTS)) if self._lists else ():
            place = path.relative_to(self._folder).with_suffix("").as_posix()
            missing = [name for name in self._lists if place not in self._seen[name]]
            result = read_result(path) if missing else None
            if result is None or result.failed is not None:
                continue
            for name in missing:
                _log(name, self._folder / LOGGED / name, place, result)
                append_line(self._lists[name], place)
                self._seen[name].add(place)
        self._looked = time.monotonic()


def _log(name: str, folder: Path, place: str, result: Result) -> None:
    logger = open_logger(name, folder, place, plain(asdict(result.run)))
    for point in result.curve:
        known = {"return": point.mean_return, "normalised": point.normalised, "success": point.success}
        told = {name: value for name, value in known.items() if value is not None}
        logger.log(point.step, {**told, **point.metrics})
    logger.close()
