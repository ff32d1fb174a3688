"""Which loss moves the parameters. An algorithm is one module here, its config in ``configs.py``, a line in the table.

What wraps another algorithm has its own options under their plain names and the other's under ``base.``: so no two
that are put together ever share an option (or a metric, or a network) by accident.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

from trajtune.algorithms.configs import (
    AWRConfig,
    CQLConfig,
    CriticConfig,
    DPOConfig,
    GRPOConfig,
    IQLConfig,
    PPOConfig,
    QPConfig,
    SFTConfig,
    VCriticConfig,
)
from trajtune.configs import override
from trajtune.errors import UserError, unknown
from trajtune.registry import Registry

CRITIC = "critic."
"""What stands before the options of the critic that an algorithm owns."""
BASE = "base."
"""What stands before the options, metrics and networks of an algorithm that another one wraps."""


@dataclasses.dataclass(frozen=True)
class AlgorithmEntry:
    """What an algorithm is in a word, its torch-free configs, and what builds it (``module:callable``).

    ``configs`` maps the prefix of options to the config they belong to: ``""`` the algorithm's own, ``critic.`` that of
    its critic, ``base.`` that of the algorithm it wraps. ``build`` is called with the configs in this order.
    """

    summary: str
    configs: Mapping[str, type[Any]]
    build: str
    rate: float = 1.0
    """What a tuning's own learning rate, which suits imitation, is multiplied by unless a rate is given."""
    std: float = 0.2
    """Deviation of the action distribution unless another is given. The paper leaves it open."""


ALGORITHMS = Registry(
    "algorithm",
    "trajtune.algorithms",
    AlgorithmEntry,
    {
        "sft": AlgorithmEntry("imitate the trajectories", {"": SFTConfig}, "trajtune.algorithms.sft:SFT"),
        "dpo": AlgorithmEntry(
            "prefer their actions to perturbed ones", {"": DPOConfig}, "trajtune.algorithms.dpo:DPO", rate=0.1
        ),
        "grpo": AlgorithmEntry(
            "prefer trajectories better than their group",
            {"": GRPOConfig},
            "trajtune.algorithms.grpo:GRPO",
            rate=0.03,
            std=0.5,
        ),
        "ppo": AlgorithmEntry(
            "prefer actions better than a critic expected",
            {"": PPOConfig, CRITIC: VCriticConfig},
            "trajtune.algorithms.ppo:PPO",
            std=0.5,
        ),
        "cql": AlgorithmEntry(
            "maximise a conservative critic",
            {"": CQLConfig, CRITIC: CriticConfig},
            "trajtune.algorithms.cql:CQL",
            rate=0.003,
        ),
        "iql": AlgorithmEntry(
            "imitate by the advantage of implicit Q-learning",
            {"": IQLConfig, CRITIC: CriticConfig},
            "trajtune.algorithms.iql:IQL",
        ),
        "awr": AlgorithmEntry(
            "imitate by how much better than expected it went",
            {"": AWRConfig, CRITIC: VCriticConfig},
            "trajtune.algorithms.awr:AWR",
        ),
        "qp-sft": AlgorithmEntry(
            "sft guided by a critic",
            {"": QPConfig, CRITIC: CriticConfig, BASE: SFTConfig},
            "trajtune.algorithms.qp:qp_sft",
        ),
        "qp-dpo": AlgorithmEntry(
            "dpo guided by a critic",
            {"": QPConfig, CRITIC: CriticConfig, BASE: DPOConfig},
            "trajtune.algorithms.qp:qp_dpo",
            rate=0.3,
        ),
    },
)


def algorithm_configs(name: str, options: Mapping[str, Any] | None = None) -> list[Any]:
    """Return an algorithm's configs with some fields overridden; unknown names and values are a ``UserError``."""
    entry, options, owner = ALGORITHMS[name], dict(options or {}), f"algorithm {name}"
    known = [p + f.name for p, config in entry.configs.items() for f in dataclasses.fields(config)]
    for option in options:
        if option not in known:
            raise unknown(f"option of {owner}", option, known) if known else UserError(f"{owner} has no options")
    found = []
    for prefix, config in entry.configs.items():
        names = [field.name for field in dataclasses.fields(config)]
        own = {name: options[prefix + name] for name in names if prefix + name in options}
        found.append(override(config(), own, owner))
    return found


def algorithm_options(name: str, options: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return all options of an algorithm, those not given at their defaults: what is saved with a run."""
    pairs = zip(ALGORITHMS[name].configs, algorithm_configs(name, options), strict=True)
    return {prefix + field: value for prefix, c in pairs for field, value in dataclasses.asdict(c).items()}
