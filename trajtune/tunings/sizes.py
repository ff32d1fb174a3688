"""How many numbers each tuning moves, counted as the paper does (FACTS section 1): fp32, 1 MB = 2^20 bytes."""

from trajtune.agents import AgentConfig

HIDDEN = 256
RANK = 8


def tuning_sizes(config: AgentConfig) -> dict[str, int]:
    """Return the number of fp32 numbers that each tuning moves and stores.

    The paper's prompt counts reward, timestep and mask beside return-to-go, state and action, though only the latter
    three can be learned.
    """
    s, a, c = config.observation_dim, config.action_dim, config.width
    embeddings = 2 * ((s + 1) * c + (a + 1) * c + 2 * c + config.max_timesteps * c)
    block = (c + 1) * 3 * c + (c + 1) * c + (c + 1) * 4 * c + (4 * c + 1) * c + 4 * c
    heads = (c + 1) * (a + s + 1)
    maps = (c + 3 * c) + (c + c) + (c + 4 * c) + (4 * c + c)
    return {
        "prompt": config.prompt * (s + a + 4),
        "adapter": config.layers * RANK * maps,
        "decorator": (s + 1) * HIDDEN + 2 * (HIDDEN + 1) * HIDDEN + (HIDDEN + 1) * a,
        "full": embeddings + config.layers * block + 4 * c + heads,
    }


def as_text(numbers: int) -> str:
    """Return the size of fp32 numbers, as 0.76 KB or 2.52 MB."""
    size = 4 * numbers
    return f"{size / 2**10:.2f} KB" if size < 0.01 * 2**20 else f"{size / 2**20:.2f} MB"
