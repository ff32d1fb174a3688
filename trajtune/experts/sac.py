"""Train a SAC expert with ``sbx``, goal-conditioned or of one task, leaving actor checkpoints along the way.

Training goes in rounds: one episode length on every body. The state is saved between rounds, so a run that was killed
continues with the same command and ends with the same bits as one that was not.
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from trajtune import artifacts
from trajtune.errors import UserError
from trajtune.files import read_arrays, read_json, write_arrays, write_json
from trajtune.progress import Progress, silent
from trajtune.suites.base import Array, Suite

BODIES = 8
ACTORS = "actor-*.safetensors"
WANTED = "training experts needs the extra: pip install 'trajtune[experts]', or make experts in a clone"
CHUNK = 8  # control steps of every body between two calls of the learner


@dataclass(frozen=True)
class SACConfig:
    """Soft actor-critic as ``sbx`` has it: 256 x 256, one gradient step per four environment steps."""

    updates: int
    learning_rate: float = 3e-4
    batch_size: int = 256
    learning_starts: int = 4000
    checkpoint_every: int = 4000
    """Updates between two saved actors."""
    save_every: int = 20_000
    """Updates between two saved states of the whole training run."""
    keep_replay: bool = False
    """Whether the transitions that it learned from stay, in the files that the header names under ``replay``."""


def train_expert(
    suite: Suite,
    task: int | None,
    config: SACConfig,
    folder: Path,
    seed: int,
    progress: Progress = silent,
    stage: str = "training the expert (updates)",
) -> list[Path]:
    """Train for ``config.updates`` and return the actors' files, oldest first. Continues where ``folder`` stands.

    ``task`` is what a single-task expert trains on, with the environment's own reward; ``None`` trains on the suite's
    whole distribution of goals with relabelling. A folder with another expert is a ``UserError``.
    """
    if task is None and suite.relabel is None:
        raise UserError(f"suite {suite.name} cannot relabel rewards: train one expert a task")
    run = {"suite": suite.name, "task": task, "seed": seed, **asdict(config)}
    if artifacts.finished(folder, artifacts.EXPERT, run) is None:
        artifacts.claim(folder, artifacts.EXPERT, run)
        replay = _train(suite, task, config, folder, seed, progress, stage)
        kept = [*sorted(path.name for path in folder.glob(ACTORS)), *replay]
        artifacts.finish(folder, artifacts.EXPERT, {"run": run, **({"replay": replay} if replay else {})}, kept)
    patterns = ("state.json", "state-*", *([] if config.keep_replay else ["replay-*"]))
    unfinished = [path for pattern in patterns for path in folder.glob(pattern)]
    artifacts.clear(folder, [path.name for path in unfinished])  # the run is complete: only its actors are of use
    return sorted(folder.glob(ACTORS))


def _train(
    suite: Suite, task: int | None, config: SACConfig, folder: Path, seed: int, progress: Progress, stage: str
) -> list[str]:
    """Train to the end, and return the files of the transitions if they are to be kept."""
    try:
        from sbx import SAC
    except ImportError as error:
        raise UserError(f"{WANTED} ({error})") from None
    from trajtune.experts.bodies import RelabelBuffer, SuiteVecEnv

    round_steps = steps_of_a_round(suite.longest if task is None else suite.horizon(task))
    updates_per_round = round_steps * BODIES // 4
    rounds = -(-config.updates // updates_per_round) + -(-config.learning_starts // (round_steps * BODIES))
    env = SuiteVecEnv(suite, task, BODIES, seed)
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
        replay_buffer_kwargs={
            "relabel": suite.relabel if task is None else None,
            "goal_dim": len(suite.task(task or 0).goal),
            "seed": seed,
        },
        seed=seed,
    )
    done, last_actor = _load_state(model, folder)
    buffer: Any = model.replay_buffer
    saved_rows, saved_updates = buffer.pos, model._n_updates
    while model._n_updates < config.updates:
        env.begin_round(done)
        model.set_env(env, force_reset=False)
        model._last_obs = env.full()
        model.learn(round_steps * BODIES, log_interval=None, reset_num_timesteps=False)
        done += 1
        if config.checkpoint_every <= model._n_updates - last_actor and model._n_updates < config.updates:
            last_actor = model._n_updates
            _save_actor(model, folder / f"actor-{last_actor:09d}.safetensors")
        if model._n_updates - saved_updates >= config.save_every:
            _save_state(model, folder, done, saved_rows, last_actor)
            saved_rows, saved_updates = buffer.pos, model._n_updates
        progress(stage, min(model._n_updates, config.updates), config.updates)
    _save_actor(model, folder / f"actor-{config.updates:09d}.safetensors")
    env.close()
    if not config.keep_replay:
        return []
    if buffer.pos > saved_rows:
        _save_state(model, folder, done, saved_rows, last_actor)
    return list(read_json(folder / "state.json", "expert")["replay"])


def steps_of_a_round(horizon: int) -> int:
    """Return how long every body acts before all begin anew: an episode, in whole calls of the learner."""
    return -(-horizon // CHUNK) * CHUNK


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
    write_arrays(folder / f"replay-{rounds:06d}.safetensors", buffer.columns(rows))
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
        buffer.append(read_arrays(folder / name, "replay"))
    restored = {n: from_state_dict(s, _fill(n, to_state_dict(s), arrays)) for n, s in _states(model).items()}
    model.policy.actor_state, model.policy.qf_state = restored["actor"], restored["critic"]
    model.ent_coef_state = restored["entropy"]
    model.key, model.policy.key = jnp.asarray(arrays["key"]), jnp.asarray(arrays["policy_key"])
    model._n_updates, model.num_timesteps = meta["updates"], meta["timesteps"]
    return int(meta["rounds"]), int(meta["last_actor"])
