"""What can be said of where a study's runs are done. Without torch, and without the libraries that do it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from trajtune.errors import UserError

ATTEMPTS = 3
"""How often a run is begun that raises or takes its worker with it."""


@dataclass(frozen=True)
class LocalConfig:
    """What the processes compute on."""

    device: Literal["cpu", "cuda"] = "cpu"
    """With ``cuda`` the processes share the devices that there are."""


@dataclass(frozen=True)
class RayConfig:
    """Where the cluster is and what a run asks of it. The folder must be one that all its nodes share."""

    address: str = ""
    """Of a cluster, or ``auto`` for the one that this machine belongs to; empty starts one here that ends with us."""
    cpus: float = 1.0
    gpus: float = 0.0
    """With one, or a part of one, runs are done on CUDA."""
    memory_mb: int = 0
    """That the scheduler sets aside for a run; 0 leaves it out of account."""

    @property
    def device(self) -> str:
        return "cuda" if self.gpus > 0 else "cpu"

    def __post_init__(self) -> None:
        _check(self, ("cpus",), ("gpus", "memory_mb"))


@dataclass(frozen=True)
class SlurmConfig:
    """What each of the long jobs asks for; ``workers`` says how many there are. They must share the study's folder."""

    partition: str = ""
    """Empty: the cluster's default."""
    minutes: int = 1440
    """Of wall clock. One that is stopped before it is done is queued again, if the cluster lets it."""
    memory_gb: int = 4
    cpus: int = 1
    """Of a job: so many processes of one thread work in it."""
    gpus: int = 0
    """With one or more, runs are done on CUDA."""
    extra: Mapping[str, Any] = field(default_factory=dict)
    """Any other of sbatch's options, such as ``{"account": "mine"}``."""
    cluster: Literal["slurm", "local"] = "slurm"
    """``local`` starts the jobs as processes here: to try it without a cluster."""

    @property
    def device(self) -> str:
        return "cuda" if self.gpus > 0 else "cpu"

    def __post_init__(self) -> None:
        _check(self, ("minutes", "memory_gb", "cpus"), ("gpus",))


def _check(config: Any, positive: tuple[str, ...], not_negative: tuple[str, ...]) -> None:
    for name in positive:
        if not getattr(config, name) > 0:
            raise UserError(f"{name} must be positive, got {getattr(config, name)}")
    for name in not_negative:
        if not getattr(config, name) >= 0:
            raise UserError(f"{name} must not be negative, got {getattr(config, name)}")
