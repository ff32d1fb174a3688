"""What tyro has to say about wrong arguments, on one line. It is read from its boxes: there is no other way to it.

Where a box is not one that is known here, its words are taken as they are.
"""

import itertools
import re

from trajtune.errors import unknown

TYPES = {"INT": "a whole number", "FLOAT": "a number", "{None}|FLOAT": "a number", "{None}|INT": "a whole number"}


def complaint(box: str) -> str:
    """Return what is wrong, and what was probably meant."""
    lines = re.sub(r"\x1b\[[0-9;]*m", "", box).splitlines()
    inside = [re.sub(r"^[\u2502|] ?|[\u2502|]?$", "", line) for line in lines[1:-1]]
    text = " ".join(re.sub(r"[\u2500-\u257f]|-{9,}", " ", "\n".join(inside)).split())
    text = re.sub(r" ?For full helptext.*", "", text)
    for reader in (_missing, _unrecognised, _choice, _value):
        if (found := reader(text, inside)) is not None:
            return found
    return text


def _missing(text: str, inside: list[str]) -> str | None:
    if not text.startswith("Missing from"):
        return None
    start = next(i for i, line in enumerate(inside) if "Missing from" in line) + 1
    depth = _indent(inside[start])
    body = itertools.takewhile(lambda line: _indent(line) >= depth, inside[start:])
    return f"missing: {', '.join(line.split()[0] for line in body if _indent(line) == depth)}"


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def _unrecognised(text: str, inside: list[str]) -> str | None:
    found = re.match(r"Unrecognized options: ([^,]*)", text)
    return None if found is None else f"{found[1]!r} is one argument too many"


def _choice(text: str, inside: list[str]) -> str | None:
    found = re.match(r"invalid choice '(.*)' for argument '(.*)'\. Expected one of \((.*?)\)", text)
    return None if found is None else str(unknown(f"value of {found[2]}", found[1], re.findall(r"'(.*?)'", found[3])))


def _value(text: str, inside: list[str]) -> str | None:
    flag, value = re.match(r"Error parsing (\S+):", text), re.search(r"(?:10|float): ('.*?')|from \[('.*?')\]", text)
    if flag is None or value is None:
        return None
    takes = re.search(rf"Argument helptext: {re.escape(flag[1])} (\S+)", text)
    kind = takes[1] if takes else "another value"
    return f"{flag[1]} takes {TYPES.get(kind, kind)}, got {value[1] or value[2]}"
