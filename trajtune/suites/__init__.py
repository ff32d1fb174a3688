"""Families of tasks: the table of their names, and how a name becomes a suite. Nothing is imported before it is asked.

Other packages add theirs by an entry point in the group ``trajtune.suites`` that leads to an ``Entry``.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from trajtune.errors import UserError, unknown
from trajtune.registry import Registry, resolve

if TYPE_CHECKING:
    from trajtune.suites.base import Suite


@dataclass(frozen=True)
class Entry:
    """One suite: a line about it, and the function that makes it, as ``package.module:function``."""

    summary: str
    make: str


SUITES = Registry(
    "suite",
    "trajtune.suites",
    Entry,
    {
        "cheetah-vel": Entry("HalfCheetah runs at a target velocity", "trajtune.suites.cheetah:cheetah_vel"),
        "cheetah-vel-pdt": Entry("Prompt-DT's forty velocities", "trajtune.suites.cheetah:cheetah_vel_pdt"),
        "cheetah-dir": Entry("HalfCheetah runs forward or backward", "trajtune.suites.cheetah:cheetah_dir"),
        "ant-dir": Entry("Ant runs in a direction", "trajtune.suites.ant:ant_dir"),
        "ant-dir-pdt": Entry("Prompt-DT's: an episode ends on a fall", "trajtune.suites.ant:ant_dir_pdt"),
        "point": Entry("a NumPy point robot reaches a goal (for tests)", "trajtune.suites.point:point"),
    },
)

MAKERS = {"gym": Entry("any environment of Gymnasium, as gym:ID", "trajtune.suites.gymnasium:gym_suite")}
"""What stands before the colon of ``gym:Hopper-v5``: a function makes a suite from what stands behind it."""


def get_suite(name: str) -> "Suite":
    """Return the suite of that name, or that ``gym:ID`` stands for; a ``UserError`` lists the names there are."""
    maker, colon, rest = name.partition(":")
    make: Callable[..., Suite]
    if colon and maker in MAKERS:
        make = resolve(MAKERS[maker].make)
        return make(rest)
    if name not in SUITES and name not in SUITES.broken:
        raise unknown("suite", name, [*SUITES, *(f"{scheme}:ID" for scheme in MAKERS)])
    make = resolve(SUITES[name].make)
    suite = make()
    if suite.name != name:  # data would be saved under a name by which nobody finds it
        raise UserError(f"suite {name} calls itself {suite.name}: its name must be the one it is registered under")
    return suite
