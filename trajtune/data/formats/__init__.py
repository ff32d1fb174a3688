"""Data formats of others: the table of their names. Other packages add theirs by an entry point (group below)."""

from trajtune.data.formats.arrays import ARRAYS
from trajtune.data.formats.base import Format
from trajtune.registry import Registry

FORMATS: Registry[Format] = Registry("data format", "trajtune.formats", Format, {"arrays": ARRAYS})
