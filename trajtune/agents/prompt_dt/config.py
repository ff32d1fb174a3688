"""The sizes of a Prompt Decision Transformer."""

from dataclasses import asdict, dataclass

from trajtune.errors import UserError


@dataclass(frozen=True)
class PromptDTConfig:
    """The size of an agent. (layers, width, heads) goes from (3, 128, 1) to (48, 256, 16) in the paper."""

    observation_dim: int
    action_dim: int
    max_timesteps: int
    """The longest episode it knows."""
    layers: int = 3
    width: int = 128
    heads: int = 1
    window: int = 20
    """History length K in steps."""
    prompt: int = 5
    """Prompt length K* in steps; 0 is an agent that is told its task by nothing but the return asked for."""
    dropout: float = 0.1
    """Used in pretraining; finetuning and acting run without."""

    def __post_init__(self) -> None:
        least = {"prompt": 0}
        for name, value in asdict(self).items():
            if name != "dropout" and (type(value) is not int or value < least.get(name, 1)):
                raise UserError(f"an agent's {name} must be a whole number from {least.get(name, 1)}, got {value!r}")
        if self.width % self.heads:
            raise UserError(f"an agent's width ({self.width}) must be a multiple of its heads ({self.heads})")
        if not 0.0 <= self.dropout < 1.0:
            raise UserError(f"an agent's dropout must be in [0, 1), got {self.dropout}")
