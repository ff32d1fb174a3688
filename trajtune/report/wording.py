"""How cells and settings are called where people read."""

from typing import Protocol

from trajtune.data.setting import Setting
from trajtune.study.cell import UNTUNED


def algorithm_name(row: tuple[str, str]) -> str:
    """Return an algorithm, and its label where it has one."""
    return f"{row[0]} ({row[1]})" if row[1] else row[0]


def cell_name(cell: tuple[str, str, str]) -> str:
    """Return an algorithm, its label and its tuning."""
    row = algorithm_name(cell[:2])
    return row if cell[2] == UNTUNED else f"{row} x {cell[2]}"


def asked_for(target: str | float) -> str:
    """Return a target return in words."""
    return {"best": "the best", "mean": "the mean", "expert": "the expert's"}.get(str(target), str(target))


def setting_words(setting: Setting) -> str:
    """Return a data setting in words."""
    reward = "" if setting.reward == "dense" else f", {setting.reward} reward"
    quality = "" if setting.quality is None else f"{setting.quality} "
    asked = "" if setting.target == "best" else f", asked for {asked_for(setting.target)}"
    return f"{setting.trajectories} {quality}trajectories{reward}{asked}"


class _Placed(Protocol):
    @property
    def group(self) -> str: ...

    @property
    def setting(self) -> Setting: ...


def comparison_title(where: _Placed) -> str:
    """Return suite and data setting in words."""
    return f"{where.group}, {setting_words(where.setting)}"
