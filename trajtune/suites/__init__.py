"""Families of tasks that share a body."""

from collections.abc import Callable

from trajtune.errors import unknown
from trajtune.suites.ant import ant_dir, ant_dir_pdt
from trajtune.suites.base import Env, Suite, Task
from trajtune.suites.cheetah import cheetah_dir, cheetah_vel, cheetah_vel_pdt
from trajtune.suites.point import point
from trajtune.suites.references import references

SUITES: dict[str, Callable[[], Suite]] = {
    "cheetah-vel": cheetah_vel,
    "cheetah-vel-pdt": cheetah_vel_pdt,
    "cheetah-dir": cheetah_dir,
    "ant-dir": ant_dir,
    "ant-dir-pdt": ant_dir_pdt,
    "point": point,
}


def get_suite(name: str) -> Suite:
    """Return the suite of that name; a ``UserError`` lists the names there are."""
    if name not in SUITES:
        raise unknown("suite", name, SUITES)
    return SUITES[name]()


__all__ = ["SUITES", "Env", "Suite", "Task", "get_suite", "references"]
