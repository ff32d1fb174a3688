"""Recorded trajectories: the store on disk, and the windows and prompts drawn from it."""

from trajtune.data.prompts import TaskPrompts, load_prompts, make_prompts, save_prompts
from trajtune.data.sampling import draw_batch, draw_prompts, draw_windows
from trajtune.data.store import Dataset
from trajtune.data.trajectories import Trajectories
from trajtune.data.transforms import REWARDS, Reward
from trajtune.data.writer import DatasetWriter

__all__ = [
    "REWARDS",
    "Dataset",
    "DatasetWriter",
    "Reward",
    "TaskPrompts",
    "Trajectories",
    "draw_batch",
    "draw_prompts",
    "draw_windows",
    "load_prompts",
    "make_prompts",
    "save_prompts",
]
