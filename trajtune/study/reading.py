"""Read a study from YAML. What is wrong with it is one line that names the file and, where that is known, the line.

Beside what ``Study`` has, a file may say ``like: NAME``, another study whose fields it takes where it has none of its
own, and ``{grid: [...]}`` for any value of a setting or a method, which then stands there once for each of the values.
"""

import copy
import itertools
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from trajtune.configs import structured
from trajtune.errors import UserError, first_line
from trajtune.files import regular_size
from trajtune.shipped import preset, presets
from trajtune.study.choosing import check_spaces
from trajtune.study.declaration import MOST, Study

BYTES, VALUES, DEEPEST = 1 << 18, 1 << 15, 50
"""Of a file, of what it says with every alias written out, and of mappings within each other: more is no study."""
GRID, LIKE = "grid", "like"
LISTS = ("settings", "methods")
"""What grids may stand in."""
ROOT = "study"


def load_study(path: Path | str) -> Study:
    """Read a study from YAML; every wrong name or value in it is a ``UserError`` that says where.

    A bare name is a study that comes with the package, unless there is a file of that name. Paths in it are relative
    to the working directory, as those on a command line; ``asset:NAME`` is a folder that comes with the package.
    """
    path = _file_of(str(path))
    value, lines, origins = _read(path)
    try:
        if isinstance(value, dict) and isinstance(tasks := value.get("tasks"), int | list):
            value["tasks"] = ",".join(map(str, tasks if isinstance(tasks, list) else [tasks]))
        study: Study = structured(Study, value, ROOT)
        study.check()
        check_spaces(study)
    except UserError as error:
        line = _line(error.where, lines, origins)
        raise UserError(f"{path}{f', line {line}' if line else ''}: {error}") from None
    return study


def _file_of(name: str) -> Path:
    path = Path(name)
    return preset(name) if name in presets() and not path.exists() else path


Origins = Mapping[str, list[int]]
"""Of each item of a list that grids have multiplied, its place in the file."""


def _read(path: Path, within: tuple[Path, ...] = ()) -> tuple[Any, dict[str, int], Origins]:
    """Return what a file says, others and grids taken in, and the line of each of its values by where it stands."""
    value, lines = _plain(path)
    origins = {}
    if isinstance(value, dict) and LIKE in value:
        other = value.pop(LIKE)
        if not isinstance(other, str) or path in within:
            raise UserError(
                f"{path}, line {lines[f'{ROOT}.{LIKE}']}: like must name another study, got {other!r}"[:200]
            )
        above, *_ = _read(_file_of(other), (*within, path))
        value = {**above, **value}
    for name in LISTS:
        if isinstance(value, dict) and isinstance(value.get(name), list):
            try:
                pairs = [(i, each) for i, item in enumerate(value[name]) for each in _grown(name, item, f"[{i}]")]
            except UserError as error:
                raise UserError(f"{path}, line {_line(error.where, lines, {})}: {error}") from None
            value[name], origins[name] = [each for _, each in pairs], [i for i, _ in pairs]
    return value, lines, origins


def _plain(path: Path) -> tuple[Any, dict[str, int]]:
    import yaml

    try:
        if regular_size(path) > BYTES:
            raise UserError(f"{path} has more than {BYTES >> 10} KB: that is no study")
        text = path.read_text()
        lines: dict[str, int] = {}
        node = yaml.compose(text, _loader())
        if node is not None:
            for count, (where, line) in enumerate(_places(node, ROOT, 0)):
                lines.setdefault(where, line)
                if count > VALUES:
                    raise UserError(f"{path} says more than {VALUES} things, aliases written out: that is no study")
        value = yaml.load(text, _loader())  # a SafeLoader
        json.dumps(value)  # dates and the like have no place in options
    except FileNotFoundError:
        own = ", ".join(presets())
        raise UserError(f"there is no study {path}: give a YAML file, or one that comes with trajtune: {own}") from None
    # The last five: what PyYAML lets through from a value that is not of the type its tag says.
    except (OSError, yaml.YAMLError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", None)
        at, why = (f", line {mark.line + 1}", problem) if mark and problem else ("", first_line(error))
        raise UserError(f"{path}{at} is not readable as YAML of plain values ({why})") from None
    return value, lines


def _places(node: Any, where: str, depth: int) -> Iterator[tuple[str, int]]:
    """Where each value stands, aliases written out, and its line: a list's items by number, a mapping's by name."""
    import yaml

    yield where, node.start_mark.line + 1
    if depth > DEEPEST:
        raise ValueError(f"more than {DEEPEST} values within each other")
    if isinstance(node, yaml.SequenceNode):
        for i, each in enumerate(node.value):
            yield from _places(each, f"{where}[{i}]", depth + 1)
    elif isinstance(node, yaml.MappingNode):
        for key, each in node.value:
            name = f"{where}.{key.value if isinstance(key, yaml.ScalarNode) else '?'}"
            yield name, key.start_mark.line + 1
            yield from _places(each, name, depth + 1)


def _line(where: str, lines: Mapping[str, int], origins: Origins) -> int | None:
    """Return the line of the value, or of the nearest thing around it that has one."""
    if (found := re.match(rf"{ROOT}\.(\w+)\[(\d+)\]", where)) and found[1] in origins:
        where = f"{ROOT}.{found[1]}[{origins[found[1]][int(found[2])]}]{where[found.end() :]}"
    while where not in lines:
        where = re.sub(r"(\.[^.\[\]]*|\[\d+\])$", "", where) if where.startswith(f"{ROOT}.") else ROOT
        if where == ROOT:
            return None
    return lines[where] if where != ROOT else None


def _grown(name: str, item: Any, place: str) -> list[Any]:
    """Return an item of a list once for every choice its grids leave; methods are labelled by what was chosen."""
    axes = list(_grids(item, ()))
    where, count = f"{ROOT}.{name}{place}", 1
    for keys, values in axes:
        if not isinstance(values, list) or not values:
            raise UserError(f"{'.'.join(keys)}: a grid is a list of at least one value").at(where)
        count *= len(values)
    if count > MOST:
        raise UserError(f"its grids leave {count} choices: {MOST} is the most").at(where)
    found = []
    for chosen in itertools.product(*(values for _, values in axes)):
        each, words = copy.deepcopy(item), []
        for (keys, _), value in zip(axes, chosen, strict=True):
            inner = each
            for key in keys[:-1]:
                inner = inner[key]
            inner[keys[-1]] = value
            words.append(f"{keys[-1]}={spelt(value)}")
        if name == "methods" and words:
            each["label"] = "-".join([*filter(None, [each.get("label")]), *words])
        found.append(each)
    return found


def _grids(value: Any, keys: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    if isinstance(value, dict) and keys and set(value) == {GRID}:
        yield keys, value[GRID]
    elif isinstance(value, dict):
        for name, each in value.items():
            yield from _grids(each, (*keys, name))


def spelt(value: Any) -> str:
    """Return a value as a label can have it."""
    text = f"{value:g}" if isinstance(value, float) else value if isinstance(value, str) else json.dumps(value)
    return re.sub(r"[^\w.=-]", "", text, flags=re.ASCII)


def _loader() -> type:
    """YAML 1.2's numbers (3e-4 is a number there, in PyYAML's 1.1 it is a word), and no name twice in a mapping."""
    import yaml

    class Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
        def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
            names = [self.construct_object(key, deep=True) for key, _ in node.value]
            for i, name in enumerate(names):
                if name in names[:i]:
                    raise yaml.constructor.ConstructorError(None, None, f"{name} is there twice", node.start_mark)
            mapping: dict[Any, Any] = super().construct_mapping(node, deep)
            return mapping

    number = re.compile(r"^[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?$")
    Loader.add_implicit_resolver("tag:yaml.org,2002:float", number, list("-+0123456789."))
    return Loader
