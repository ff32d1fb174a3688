"""Train a (goal-conditioned) SAC expert with ``sbx``, leaving actor checkpoints along the way.

Training goes in rounds: one episode length on every body. The state is saved between rounds, so a run that was killed
continues with the same command and ends with the same bits as one that was not.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from trajtune.errors import UserError
from trajtune.files import claim_folder, read_arrays, read_json, write_arrays, write_json
from trajtune.suites.base import Array, Suite

BODIES = 8
MARK = "expert.json"
CHUNK = 8  # control steps of every body between two calls of the learner


@dataclass(frozen=True)
class SACConfig:
    """Soft actor-critic as ``sbx`` has it: 256 x 256, batch 128, one gradient step per four environment steps."""

    updates: int
    learning_rate: float = 3e-4
    batch_size: int = 128
    learning_starts: int = 4000
    checkpoint_every: int = 4000
    """Updates between two saved actors."""
    save_every: int = 20_000
    """Updates between two saved states of the whole training run."""


def train_expert(
    suite: Suite,
    goals: Array | None,
    config: SACConfig,
    folder: Path,
    seed: int,
    progress: Callable[[int], None] = lambda updates: None,
) -> list[Path]:
    """Train for ``config.updates`` and return the actors' files, oldest first. Continues where ``folder`` stands.

    ``goals`` [n, G] restricts training to those goals (one row: a single-task expert, nothing is relabelled);
    ``None`` trains on the suite's whole distribution with relabelling. A folder with another expert is an error; more
    updates than before continue it only while its training state is there.
    """
    run = {"suite": suite.name, "goals": None if goals is None else goals.tolist(), "seed": seed, **asdict(config)}
    del run["updates"]
    if not (folder / MARK).exists() and any(folder.glob("actor-*")):
        raise UserError(f"{folder} holds actors without {MARK}, which says whose they are: choose another folder")
    claim_folder(folder, MARK, run, "expert")
    actor_file = folder / f"actor-{config.updates:09d}.safetensors"
    if not actor_file.exists():
        _train(suite, goals, config, folder, seed, progress)
    return sorted(folder.glob("actor-*.safetensors"))


def _train(
    suite: Suite, goals: Array | None, config: SACConfig, folder: Path, seed: int, progress: Callable[[int], None]
) -> None:
    try:
        from sbx import SAC
    except ImportError as error:
        raise UserError(f"training experts needs the extra: pip install 'trajtune[experts]' ({error})") from None
    from trajtune.experts.goals import GoalVecEnv, RelabelBuffer

    round_steps = -(-suite.horizon // CHUNK) * CHUNK
    updates_per_round = round_steps * BODIES // 4
    rounds = -(-config.updates // updates_per_round) + -(-config.learning_starts // (round_steps * BODIES))
    env = GoalVecEnv(suite, goals, BODIES, seed)
    model = SAC(
        "MlpPolicy",
        env,
        learning_rate=config.learning_rate,
        batch_size=config.batch_size,
        buffer_size=rounds * round_steps * BODIES,
        learning_starts=config.learning_starts,
        train_freq=(CHUNK, "step"),
        gradient_steps=CHUNK * BODIES // 4,
        replay_buffer_class=RelabelBuffer,
        replay_buffer_kwargs={"suite": suite, "relabel": goals is None, "seed": seed},
        seed=seed,
    )
    folder.mkdir(parents=True, exist_ok=True)
    done, last_actor = _load_state(model, folder)
    buffer: Any = model.replay_buffer
    saved_rows, saved_updates = buffer.pos, model._n_updates
    while model._n_updates < config.updates:
        env.begin_round(done)
        model.set_env(env, force_reset=False)
        model._last_obs = env._full()
        model.learn(round_steps * BODIES, log_interval=None, reset_num_timesteps=False)
        done += 1
        if config.checkpoint_every <= model._n_updates - last_actor and model._n_updates < config.updates:
            last_actor = model._n_updates
            _save_actor(model, folder / f"actor-{last_actor:09d}.safetensors")
        if model._n_updates - saved_updates >= config.save_every:
            _save_state(model, folder, done, saved_rows, last_actor)
            saved_rows, saved_updates = buffer.pos, model._n_updates
        progress(model._n_updates)
    _save_actor(model, folder / f"actor-{config.updates:09d}.safetensors")
    for path in [folder / "state.json", *folder.glob("state-*"), *folder.glob("replay-*")]:
        path.unlink(missing_ok=True)  # the run is complete: only its actors are of use
    env.close()


def _save_actor(model: Any, path: Path) -> None:
    params = model.policy.actor_state.params["params"]
    write_arrays(path, {f"{layer}.{name}": np.asarray(a) for layer, p in params.items() for name, a in p.items()})


def _states(model: Any) -> dict[str, Any]:
    return {"actor": model.policy.actor_state, "critic": model.policy.qf_state, "entropy": model.ent_coef_state}


def _flatten(prefix: str, tree: Any, into: dict[str, Array]) -> dict[str, Array]:
    if isinstance(tree, dict):
        for key, value in tree.items():
            _flatten(f"{prefix}/{key}", value, into)
    elif tree is not None:
        into[prefix] = np.asarray(tree)
    return into


def _fill(prefix: str, tree: Any, arrays: dict[str, Array]) -> Any:
    if isinstance(tree, dict):
        return {key: _fill(f"{prefix}/{key}", value, arrays) for key, value in tree.items()}
    return None if tree is None else arrays[prefix].reshape(np.shape(tree))


def _save_state(model: Any, folder: Path, rounds: int, saved_rows: int, last_actor: int) -> None:
    """Write the new transitions and the state, then ``state.json``, which alone says what counts."""
    from flax.serialization import to_state_dict

    buffer = model.replay_buffer
    rows = slice(saved_rows, buffer.pos)
    names = ("observations", "next_observations", "actions", "rewards", "dones", "timeouts", "achieved")
    write_arrays(folder / f"replay-{rounds:06d}.safetensors", {name: getattr(buffer, name)[rows] for name in names})
    arrays: dict[str, Array] = {"key": np.asarray(model.key), "policy_key": np.asarray(model.policy.key)}
    for name, state in _states(model).items():
        _flatten(name, to_state_dict(state), arrays)
    write_arrays(folder / f"state-{rounds:06d}.safetensors", arrays)
    old = read_json(folder / "state.json", "expert")["replay"] if (folder / "state.json").exists() else []
    state_json = {
        "rounds": rounds,
        "updates": model._n_updates,
        "last_actor": last_actor,
        "timesteps": model.num_timesteps,
        "replay": [*old, f"replay-{rounds:06d}.safetensors"],
    }
    write_json(folder / "state.json", state_json)
    for path in folder.glob("state-*.safetensors"):
        if path.name != f"state-{rounds:06d}.safetensors":
            path.unlink()


def _load_state(model: Any, folder: Path) -> tuple[int, int]:
    """Restore what ``_save_state`` wrote; return the rounds done and when an actor was last saved, 0 at the start."""
    import jax.numpy as jnp
    from flax.serialization import from_state_dict, to_state_dict

    if not (folder / "state.json").exists():
        return 0, 0
    meta = read_json(folder / "state.json", "expert")
    arrays = read_arrays(folder / f"state-{meta['rounds']:06d}.safetensors", "expert state")
    buffer = model.replay_buffer
    for name in meta["replay"]:
        part = read_arrays(folder / name, "replay")
        rows = slice(buffer.pos, buffer.pos + len(part["rewards"]))
        if buffer.achieved is None:
            buffer.achieved = np.zeros((buffer.buffer_size, *part["achieved"].shape[1:]), np.float32)
        for key, value in part.items():
            getattr(buffer, key)[rows] = value
        buffer.pos = rows.stop
    restored = {n: from_state_dict(s, _fill(n, to_state_dict(s), arrays)) for n, s in _states(model).items()}
    model.policy.actor_state, model.policy.qf_state = restored["actor"], restored["critic"]
    model.ent_coef_state = restored["entropy"]
    model.key, model.policy.key = jnp.asarray(arrays["key"]), jnp.asarray(arrays["policy_key"])
    model._n_updates, model.num_timesteps = meta["updates"], meta["timesteps"]
    return int(meta["rounds"]), int(meta["last_actor"])
