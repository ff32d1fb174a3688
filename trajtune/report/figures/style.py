"""How figures look: colours that the colour-blind tell apart (Okabe and Ito), and a second sign for each in grey."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from trajtune.files import write_atomically
from trajtune.report.index import Place
from trajtune.report.scores import Unit, runs_of
from trajtune.report.uncertainty import Estimate, Runs, average_of

COLOURS = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#8C6D1F", "#000000", "#999999")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*", "<")
HATCHES = ("", "////", "....", "xx", "\\\\\\\\", "--", "++", "oo", "||")
DASHES = ("-", "--", "-.", ":", (0, (5, 1)), (0, (3, 1, 1, 1)), (0, (1, 1)), (0, (8, 2)), (0, (4, 2, 1, 2)))
LABELS = {"normalised": "normalised score", "success": "success rate", "return": "return"}


@dataclass(frozen=True)
class Look:
    """Of one line or one kind of bar."""

    colour: str
    marker: str
    hatch: str
    dash: Any


def looks(names: Iterable[str]) -> dict[str, Look]:
    """Give every name a look of its own, the same wherever the names are the same."""
    signs = zip(COLOURS, MARKERS, HATCHES, DASHES, strict=True)
    each = [Look(*sign) for sign in signs]
    return {name: each[i % len(each)] for i, name in enumerate(names)}


def new_figure(
    rows: int, columns: int, width: float = 3.2, height: float = 2.5, shared: bool = False
) -> tuple[Any, Any]:
    """Return a figure and its axes [rows][columns]; the machine's own settings and windows are left alone.

    With ``shared``, a line of panels has one scale, all have one below, and only the outer ones are labelled.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(max(4.0, 0.6 + width * columns), 0.9 + height * rows), layout="constrained")
    FigureCanvasAgg(figure)
    scales: dict[str, Any] = {"sharex": True, "sharey": "row"} if shared else {}
    axes = figure.subplots(rows, columns, squeeze=False, **scales)
    for axis in axes.flat:
        axis.tick_params(labelsize=7)
        axis.grid(axis="y", color="0.85", linewidth=0.6)
        axis.set_axisbelow(True)
        for side in ("top", "right"):
            axis.spines[side].set_visible(False)
    return figure, axes


def words(text: str) -> str:
    """Keep a dollar sign from beginning a formula."""
    return text.replace("$", r"\$")


def legend(figure: Any, axes: Any) -> None:
    """One legend for all panels, below them, every name once."""
    found: dict[str, Any] = {}
    for axis in axes.flat:
        handles, labels = axis.get_legend_handles_labels()
        found |= dict(zip(labels, handles, strict=True))
    if found:
        widest = 0.6 + 0.07 * max(map(len, found))  # inches of an entry in this size
        columns = max(1, min(len(found), int(figure.get_figwidth() / widest)))
        figure.legend(
            found.values(), found.keys(), loc="outside lower center", ncols=columns, fontsize=7, frameon=False
        )


def bars(
    axis: Any, names: Sequence[str], series: Mapping[str, Sequence[Estimate | None]], look: dict[str, Look]
) -> None:
    """Draw bars in groups, a group a name, with 95% intervals where they can be told; a gap where nothing is known."""
    width = 0.8 / max(1, len(series))
    for k, (label, values) in enumerate(series.items()):
        at = np.arange(len(names)) + (k - (len(series) - 1) / 2) * width
        heights = [np.nan if v is None else v.mean for v in values]
        reach = [0.0 if v is None or v.interval is None else v.interval[1] - v.mean for v in values]
        style = look[label]
        axis.bar(
            at, heights, width * 0.92, label=words(label), color=style.colour, hatch=style.hatch,
            edgecolor="white", linewidth=0.4,
        )  # fmt: skip
        axis.errorbar(at, heights, yerr=reach, fmt="none", ecolor="0.25", elinewidth=0.8, capsize=1.5)
    axis.set_xticks(range(len(names)), [words(n) for n in names], rotation=35, ha="right", fontsize=7)
    axis.axhline(0.0, color="0.4", linewidth=0.6)


def line(axis: Any, x: Sequence[float], values: Sequence[Estimate], label: str, style: Look) -> None:
    """Draw a line through means, its 95% intervals as bars so that lines on top of each other stay apart."""
    means = [v.mean for v in values]
    reach = [0.0 if v.interval is None else v.interval[1] - v.mean for v in values]
    axis.errorbar(
        x, means, yerr=reach, label=words(label), color=style.colour, marker=style.marker, linestyle=style.dash,
        markersize=3.5, linewidth=1.2, elinewidth=0.6, capsize=1.5,
    )  # fmt: skip


def ticks(axis: Any, values: Iterable[float]) -> None:
    """Mark a logarithmic scale at the values that there are, as plain numbers."""
    at = sorted(set(values))
    axis.set_xscale("log")
    axis.set_xticks(at, [f"{each:g}" for each in at])
    axis.minorticks_off()


def over_tunings(place: Place, column: tuple[str, str], unit: Unit) -> Runs:
    """Return an algorithm's scores averaged over tunings: those that every algorithm was run to its end under.

    An algorithm that has no tuning of its own to its end is left out, and its gap shows. So all that is compared is
    averaged over the same.
    """
    whole = {cell for cell, runs in place.tuned.items() if all(r.scored for r in runs)}
    most = max((len(place.cells[cell]) for cell in whole), default=0)
    whole = {cell for cell in whole if len(place.cells[cell]) == most}
    columns = {cell[:2] for cell in whole}
    tunings = [t for t in dict.fromkeys(cell[2] for cell in place.tuned) if all((*c, t) in whole for c in columns)]
    return average_of([runs_of(place.cells[*column, t], unit) for t in tunings if column in columns])


def asked_alike(places: Sequence[Place]) -> list[Place]:
    """Return the places that have results and ask the agent for what the first of them asks: others are no pairs."""
    tuned = [place for place in places if place.tuned]
    return [place for place in tuned if place.setting.target == tuned[0].setting.target]


def save(figure: Any, stem: Path) -> list[Path]:
    """Write a figure as PDF and PNG; the same figure makes the same bytes."""
    stem.parent.mkdir(parents=True, exist_ok=True)
    paths = [stem.with_name(f"{stem.name}.{kind}") for kind in ("pdf", "png")]
    write_atomically(paths[0], lambda p: figure.savefig(p, format="pdf", metadata={"CreationDate": None}))
    figure.set_layout_engine("none")  # everything has its place now; finding it takes longest
    write_atomically(paths[1], lambda p: figure.savefig(p, format="png", dpi=150))
    return paths
