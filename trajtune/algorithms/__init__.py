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


def make_algorithm(name: str, options: Mapping[str, Any] | None = None) -> Algorithm:
    """Build an algorithm; ``options`` override the fields of its configs."""
    if name not in ALGORITHMS:
        raise unknown("algorithm", name, ALGORITHMS)
    entry, options = ALGORITHMS[name], dict(options or {})
    owner = f"algorithm {name}"
    fields = {config: [f.name for f in dataclasses.fields(config)] for config in entry.configs}
    known = [field for names in fields.values() for field in names]
    for option in options:
        if option not in known:
            raise unknown(f"option of {owner}", option, known) if known else UserError(f"{owner} has no options")
    parts = [override(c(), {k: v for k, v in options.items() if k in names}, owner) for c, names in fields.items()]
    return entry.build(*parts)


__all__ = ["ALGORITHMS", "Algorithm", "Entry", "Shape", "make_algorithm"]
