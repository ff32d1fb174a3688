"""What is collected. Without anything heavy, for the command line."""

from dataclasses import dataclass


@dataclass(frozen=True)
class CollectConfig:
    """What to collect."""

    suite: str
    tasks: tuple[int, ...]
    qualities: tuple[str, ...] = ("expert", "medium")
    trajectories: int = 100
    experts: str | None = None
    """One of the suite's sources (``trajtune.experts.sources``); None is the first of them: what is ready at once."""
    composition: str = "checkpoints"
    """Data of checkpoints (``checkpoints``), or of the training itself (``replay``)."""
    updates: int = 0
    """Gradient steps of each expert that is trained; 0 is the suite's own number."""
    seed: int = 0
    dtype: str = "float32"
