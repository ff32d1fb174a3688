"""What finetuning may use of a task, and what acting on it needs to know; and how the latter is kept on disk."""

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch

from trajtune.artifacts import signature
from trajtune.data.sampling import draw_prompts
from trajtune.data.setting import Reward, Setting, Target
from trajtune.data.store import Dataset
from trajtune.data.trajectories import Array, Trajectories
from trajtune.data.transforms import REWARDS
from trajtune.errors import UserError
from trajtune.files import read_arrays, write_arrays
from trajtune.seeds import stream
from trajtune.statistics import normalised
from trajtune.types import Prompt

PROMPTS = 50
BRIEFS = "briefs.safetensors"
FLOAT32_MAX = float(np.finfo(np.float32).max)


@dataclass(frozen=True, repr=False)
class Brief:
    """What acting on one task needs to know: prompts [n], the return to ask for, and reference returns.

    Episode i uses prompt i modulo n, so every cell of a task sees the same ones; None for an agent without a prompt.
    ``target_return`` is what the agent is asked for, see ``Setting.target``.
    ``references`` holds the returns of the ``random`` policy and the ``expert`` where they are known.
    ``delayed`` says that the reward arrives at an episode's end: until then the return-to-go stays what was asked for.
    """

    prompts: Prompt | None
    target_return: float
    references: Mapping[str, float]
    delayed: bool = False

    def __repr__(self) -> str:
        prompts = "no prompts" if self.prompts is None else f"{len(self.prompts)} prompts"
        known = ", ".join(f"{name} {value:.4g}" for name, value in self.references.items())
        end = ", delayed" if self.delayed else ""
        return f"Brief({prompts}, target {self.target_return:.4g}, {known or 'no references'}{end})"

    def asked_for(self, target: Target | float) -> "Brief":
        """The same with another return to ask for: a number or the expert's. ``best`` leaves it as it is."""
        if target == "mean":
            raise UserError("target mean is the mean of a few-shot set: say which, with --data")
        if target == "best":
            return self
        return replace(self, target_return=_known_target(self.references, target))

    def normalised(self, episode_return: float) -> float | None:
        """The return between the random policy's (0) and the expert's (1), or None where they are not known."""
        return normalised(episode_return, self.references)

    def check_length(self, steps: int) -> None:
        """Raise a ``UserError`` unless its prompts are such as an agent with a prompt of ``steps`` reads."""
        own = 0 if self.prompts is None else self.prompts.actions.shape[1]
        if own != steps:
            raise UserError(f"the brief has prompts of {own} steps, the agent reads {steps}: draw them for this agent")

    def digest(self) -> str:
        """SHA-256 over all of it."""
        total = hashlib.sha256(signature(brief_texts({0: self})).encode())
        for name, array in brief_arrays({0: self}).items():
            total.update(f"{name} {array.shape}\n".encode())
            total.update(np.ascontiguousarray(array).tobytes())
        return total.hexdigest()


@dataclass(frozen=True, repr=False)
class FewShot:
    """The trajectories of one task that finetuning may use, and the brief drawn from them."""

    suite: str
    task: int
    trajectories: Trajectories
    brief: Brief
    setting: Setting
    seed: int = 0
    origin: Mapping[str, Any] = field(default_factory=dict)
    """Where they come from, for the reader; it decides nothing."""

    def __repr__(self) -> str:
        s, found = self.setting, self.trajectories
        kind = f"{len(found)} {s.quality or 'own'} trajectories, {found.steps} steps, {s.reward} reward"
        return f"FewShot({self.suite} task {self.task}: {kind}, target {self.brief.target_return:.4g})"

    def identity(self) -> dict[str, Any]:
        """Return what decides a run on the data side, as JSON."""
        return {
            "suite": self.suite,
            "task": self.task,
            "setting": asdict(self.setting),
            "seed": self.seed,
            "trajectories": self.trajectories.digest(),
            "brief": self.brief.digest(),
        }

    @classmethod
    def of(
        cls,
        trajectories: Trajectories,
        suite: str,
        task: int,
        prompt_length: int,
        references: Mapping[str, float] | None = None,
        seed: int = 0,
        reward: Reward = "dense",
        target: Target | float = "best",
        origin: Mapping[str, Any] | None = None,
    ) -> Self:
        """Make a few-shot set of trajectories in memory; ``prompt_length`` is the agent's, ``seed`` draws prompts.

        ``reward`` is how finetuning sees the rewards: as they are, or ``sparse``, the return at the last step;
        ``target`` is the return to ask for.
        """
        if len(trajectories) == 0:
            raise UserError("there are no trajectories: a few-shot set needs at least one")
        setting = Setting(None, len(trajectories), reward, target)
        own = replace(trajectories.loaded(), task=np.full(len(trajectories), task, np.int64))
        seen = REWARDS[reward].apply(own)
        brief = make_brief(seen, prompt_length, references or {}, seed, REWARDS[reward].delayed, target)
        return cls(suite, task, seen, brief, setting, seed, dict(origin or {}))


def few_shot(dataset: Dataset, task: int, setting: Setting, seed: int, prompt_length: int) -> FewShot:
    """Take a task's trajectories, as many as the setting says, drawn by ``seed``, into memory."""
    selected = dataset.select([task], setting.quality, setting.trajectories, seed)
    try:
        found = selected.loaded()
    except UserError as error:  # a number that is not finite
        raise UserError(f"{dataset.path} is damaged: {error}") from None
    origin = {"dataset": dataset.path.name, "digest": dataset.identity()}
    known, reward, target = dataset.references(task), setting.reward, setting.target
    made = FewShot.of(found, dataset.suite, task, prompt_length, known, seed, reward, target, origin)
    return replace(made, setting=setting)


def make_brief(
    data: Trajectories,
    length: int,
    references: Mapping[str, float],
    seed: int,
    delayed: bool = False,
    target: Target | float = "best",
) -> Brief:
    """Draw the prompts of one task from its trajectories (those with at least ``length`` steps); none for length 0."""
    prompts = None
    if length > 0:
        able = np.flatnonzero(data.length >= length)
        if len(able) == 0:
            raise UserError(f"no trajectory has the {length} steps that a prompt needs")
        rng = stream(seed, "prompts", int(data.task[0]))
        prompts = draw_prompts(data, rng, rng.choice(able, PROMPTS), length)
    return Brief(prompts, return_to_ask(data, references, target), dict(references), delayed)


def return_to_ask(data: Trajectories, references: Mapping[str, float], target: Target | float) -> float:
    """Return what ``Setting.target`` means for these trajectories of one task."""
    if target in ("best", "mean"):
        return float(data.returns.max() if target == "best" else data.returns.mean())
    return _known_target(references, target)


def _known_target(references: Mapping[str, float], target: Target | float) -> float:
    """A target that no trajectories are needed for."""
    if target == "expert" and "expert" not in references:
        raise UserError("target expert needs the expert's return, which is not known here: use best, mean or a number")
    return references[target] if isinstance(target, str) else float(target)


def brief_arrays(bank: Mapping[int, Brief]) -> dict[str, Array]:
    """Return the prompts of tasks as arrays by name: ``3.observations``."""
    banks = {task: brief.prompts for task, brief in bank.items() if brief.prompts is not None}
    return {f"{task}.{f.name}": getattr(p, f.name).cpu().numpy() for task, p in banks.items() for f in fields(Prompt)}


def brief_texts(bank: Mapping[int, Brief]) -> dict[str, Any]:
    """Return, as JSON, what is not in the arrays, by task: it belongs into a signed header."""
    return {
        str(task): {
            "prompts": 0 if brief.prompts is None else len(brief.prompts),
            "target_return": brief.target_return,
            "references": dict(brief.references),
            "delayed": brief.delayed,
        }
        for task, brief in bank.items()
    }


def write_briefs(folder: Path, bank: Mapping[int, Brief]) -> dict[str, Any]:
    """Write the arrays into ``folder`` and return the texts."""
    write_arrays(folder / BRIEFS, brief_arrays(bank))
    return brief_texts(bank)


def read_briefs(folder: Path, texts: Mapping[str, Any]) -> dict[int, Brief]:
    """Return the briefs that ``write_briefs`` wrote into ``folder`` when it returned these texts."""
    return briefs_from(read_arrays(folder / BRIEFS, "set of briefs"), texts, folder / BRIEFS)


def briefs_from(arrays: Mapping[str, Array], texts: Mapping[str, Any], path: Path) -> dict[int, Brief]:
    """Put briefs together; what does not fit is a ``UserError`` that names ``path``, where the arrays come from."""
    try:
        return {int(task): _brief(arrays, task, entry, path) for task, entry in texts.items()}
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise UserError(f"{path} does not match what its header says of the briefs ({error})") from None


def _brief(arrays: Mapping[str, Array], task: str, entry: Mapping[str, Any], path: Path) -> Brief:
    references = {str(name): _finite(value) for name, value in entry["references"].items()}
    count = entry["prompts"]
    prompts = _prompts(arrays, task, path) if count else None
    if type(count) is not int or count < 0 or (prompts is not None and len(prompts) != count):
        raise ValueError(f"it does not hold {count} prompts of task {task}")
    return Brief(prompts, _finite(entry["target_return"]), references, bool(entry["delayed"]))


def _finite(value: float) -> float:
    if not abs(value) <= FLOAT32_MAX:  # what acting computes in; the comparison finds NaN, too
        raise ValueError(f"{value} is not a finite number")
    return float(value)


def _prompts(arrays: Mapping[str, Array], task: str, path: Path) -> Prompt:
    found = {f.name: arrays[f"{task}.{f.name}"] for f in fields(Prompt)}
    size = found["returns_to_go"].shape  # [n, P]
    for name, array in found.items():
        kind = np.int64 if name == "timesteps" else np.float32
        dims = 3 if name in ("observations", "actions") else 2
        fits = array.dtype == kind and array.ndim == dims and array.shape[:2] == size and array.size > 0
        if not fits or not np.isfinite(array).all():
            raise UserError(f"{path} is damaged: its {task}.{name} is not that of prompts")
    return Prompt(**{name: torch.from_numpy(array) for name, array in found.items()})
