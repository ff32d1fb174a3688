"""Where curves may go beside our own files: JSON lines, TensorBoard, Weights & Biases, Trackio.

A run is named by its place, and whoever logs under the same name in the same folder goes on with the same run: what was
logged before an interruption is there once.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

from trajtune.errors import UserError, first_line
from trajtune.registry import Registry, resolve

PROJECT = "trajtune"


class Logger(Protocol):
    """One run's numbers, step by step."""

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Keep the numbers of a step. Steps rise; those of before an interruption may come again."""

    def close(self) -> None:
        """Write what is not yet written."""


@dataclass(frozen=True)
class LoggerEntry:
    """What a logger is in a word, and what builds it: ``module:callable``, called as ``open_logger`` is."""

    summary: str
    build: str


LOGGERS = Registry(
    "logger",
    "trajtune.loggers",
    LoggerEntry,
    {
        "jsonl": LoggerEntry("one line a step in a file", "trajtune.loggers:JsonLines"),
        "tensorboard": LoggerEntry("event files for TensorBoard", "trajtune.loggers:TensorBoard"),
        "wandb": LoggerEntry("Weights & Biases, if it is installed", "trajtune.loggers:wandb"),
        "trackio": LoggerEntry("Trackio, if it is installed", "trajtune.loggers:trackio"),
    },
)


def open_logger(name: str, folder: Path, run: str, config: Mapping[str, Any]) -> Logger:
    """Begin a run, or go on with it: ``run`` is its name within the folder, ``config`` (JSON) what it is."""
    logger: Logger = resolve(LOGGERS[name].build)(folder, run, config)
    return logger


class JsonLines:
    """``RUN.jsonl``: what the run is, then a line a step."""

    def __init__(self, folder: Path, run: str, config: Mapping[str, Any]) -> None:
        path = folder / f"{run}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        kept = _whole_lines(path)
        self._last = json.loads(kept[-1]).get("step", -1) if kept else -1
        self._file = path.open("a")
        self._file.truncate(sum(len(line.encode()) + 1 for line in kept))
        if not kept:
            self._write({"run": run, "config": dict(config)})

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        if step > self._last:
            self._last = step
            self._write({"step": step, **metrics})

    def close(self) -> None:
        self._file.close()

    def _write(self, value: Mapping[str, Any]) -> None:
        self._file.write(json.dumps(value) + "\n")
        self._file.flush()


def _whole_lines(path: Path) -> list[str]:
    """The lines of a file that was perhaps cut off in the middle of one."""
    try:
        *lines, _ = path.read_text().split("\n")
    except FileNotFoundError:
        return []
    found = []
    for line in lines:
        try:
            json.loads(line)
        except ValueError:
            break
        found.append(line)
    return found


class TensorBoard:
    """Event files in the folder ``RUN``."""

    def __init__(self, folder: Path, run: str, config: Mapping[str, Any]) -> None:
        try:
            self._kind: Any = resolve("torch.utils.tensorboard:SummaryWriter")
        except UserError:
            raise _missing("tensorboard") from None
        self._folder = str(folder / run)
        self._writer: Any = None
        self._config = json.dumps(dict(config), indent=1)

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        if self._writer is None:  # what an interrupted run had logged from here on is replaced
            self._writer = self._kind(self._folder, purge_step=step)
            self._writer.add_text("config", f"```\n{self._config}\n```", step)
        for name, value in metrics.items():
            self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()


class Tracker:
    """A run of a library with the API of Weights & Biases. It needs a name that is one in the whole project."""

    def __init__(self, module: str, folder: Path, run: str, config: Mapping[str, Any], **more: Any) -> None:
        try:
            library = import_module(module)
        except ImportError:
            raise _missing(module) from None
        try:
            self._run = library.init(
                project=PROJECT,
                name=f"{folder.name}/{run}",
                group=folder.name,
                config=dict(config),
                resume="allow",
                **more,
            )
        except Exception as error:  # no account, no network, no room: whatever the library says
            raise UserError(f"{module} cannot begin a run: {first_line(error)}") from None

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        self._run.log(dict(metrics), step=step)

    def close(self) -> None:
        self._run.finish()


def wandb(folder: Path, run: str, config: Mapping[str, Any]) -> Logger:
    """Log to Weights & Biases; its own environment variables (WANDB_MODE and others) hold."""
    folder.mkdir(parents=True, exist_ok=True)
    name = hashlib.sha256(f"{folder.absolute()}/{run}".encode()).hexdigest()[:16]
    return Tracker("wandb", folder, run, config, id=name, dir=str(folder))


def trackio(folder: Path, run: str, config: Mapping[str, Any]) -> Logger:
    """Log to Trackio, on this machine."""
    return Tracker("trackio", folder, run, config, embed=False)


def _missing(package: str) -> UserError:
    return UserError(f"--log {package} needs it: pip install {package}")
