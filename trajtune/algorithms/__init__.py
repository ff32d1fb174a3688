"""Which loss moves the parameters. An algorithm is one module here and one line in the registry."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from trajtune.algorithms.base import Algorithm, Shape
from trajtune.algorithms.cql import CQL, CQLConfig
from trajtune.algorithms.dpo import DPO, DPOConfig
from trajtune.algorithms.grpo import GRPO, GRPOConfig
from trajtune.algorithms.ppo import PPO, PPOConfig
from trajtune.algorithms.qp import QGuided, QPConfig
from trajtune.algorithms.sft import SFT, SFTConfig
from trajtune.configs import override
from trajtune.errors import UserError, unknown


class Entry(NamedTuple):
    """How an algorithm is built, and the configs it is built from."""

    build: Callable[..., Algorithm]
    configs: tuple[type[Any], ...]


ALGORITHMS: dict[str, Entry] = {
    "sft": Entry(SFT, (SFTConfig,)),
    "dpo": Entry(DPO, (DPOConfig,)),
    "grpo": Entry(GRPO, (GRPOConfig,)),
    "ppo": Entry(PPO, (PPOConfig,)),
    "cql": Entry(CQL, (CQLConfig,)),
    "qp-sft": Entry(lambda base, qp: QGuided(SFT(base), qp), (SFTConfig, QPConfig)),
    "qp-dpo": Entry(lambda base, qp: QGuided(DPO(base), qp), (DPOConfig, QPConfig)),
}


def _configs(name: str, options: Mapping[str, Any] | None) -> list[Any]:
    """Return an algorithm's configs with some fields overridden."""
    if name not in ALGORITHMS:
        raise unknown("algorithm", name, ALGORITHMS)
    options, owner = dict(options or {}), f"algorithm {name}"
    fields = {config: [f.name for f in dataclasses.fields(config)] for config in ALGORITHMS[name].configs}
    known = [field for names in fields.values() for field in names]
    for option in options:
        if option not in known:
            raise unknown(f"option of {owner}", option, known) if known else UserError(f"{owner} has no options")
    return [override(c(), {k: v for k, v in options.items() if k in names}, owner) for c, names in fields.items()]


def make_algorithm(name: str, options: Mapping[str, Any] | None = None) -> Algorithm:
    """Build an algorithm; ``options`` override the fields of its configs."""
    configs = _configs(name, options)
    return ALGORITHMS[name].build(*configs)


def resolve_algorithm(name: str, options: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return all options of an algorithm, those not given at their defaults: what is saved with a run."""
    return {field: value for config in _configs(name, options) for field, value in dataclasses.asdict(config).items()}


__all__ = ["ALGORITHMS", "Algorithm", "Entry", "Shape", "make_algorithm", "resolve_algorithm"]
