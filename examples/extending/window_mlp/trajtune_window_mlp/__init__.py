"""A perceptron over the last few steps: its sizes, and its line in the table of agents. No torch here."""

from dataclasses import asdict, dataclass

from trajtune.agents import AgentEntry
from trajtune.errors import UserError


@dataclass(frozen=True)
class WindowMLPConfig:
    """The size of an agent. The first three come from the data and its suite."""

    observation_dim: int
    action_dim: int
    max_timesteps: int
    """The longest episode it knows."""
    window: int = 4
    """History length K in steps: all that it sees."""
    hidden: int = 64

    @property
    def prompt(self) -> int:
        """It is told its task by nothing but the return asked for. No field, so nobody can set it."""
        return 0

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if type(value) is not int or value < 1:
                raise UserError(f"an agent's {name} must be a whole number from 1, got {value!r}")


WINDOW_MLP = AgentEntry("a perceptron over the last few steps", WindowMLPConfig, "trajtune_window_mlp.model:WindowMLP")
