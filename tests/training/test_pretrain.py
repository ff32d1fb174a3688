"""Pretraining: its normaliser, going on after a kill, and two processes that share one run."""

import signal
import socket
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.helpers import new_agent, python
from trajtune.agents.base import Agent
from trajtune.agents.prompt_dt.config import PromptDTConfig
from trajtune.agents.prompt_dt.model import PromptDT
from trajtune.agents.saving import SavedAgent, load_agent
from trajtune.algorithms.losses import sft_loss
from trajtune.data.sampling import draw_batch
from trajtune.data.store import Dataset
from trajtune.errors import UserError
from trajtune.seeds import number, stream, torch_stream
from trajtune.suites import get_suite
from trajtune.training.config import PretrainConfig, TrainConfig
from trajtune.training.pretrain import pretrain

TASKS = [0, 1, 3, 4]
CONFIG = PretrainConfig(
    options={"layers": 2, "width": 16, "heads": 2, "window": 4, "prompt": 2, "dropout": 0.1},
    training=TrainConfig(
        steps=8, batch=6, learning_rate=1e-3, warmup=3, checkpoint_every=3, log_every=2, precision="fp32", seed=1
    ),
)
HORIZON = get_suite("point").horizon(0)

# What a child process runs: the arguments are the dataset, the folder, the processes, and a step to die at.
CHILD = """
import os, signal, sys
from pathlib import Path
import torch
torch.set_num_threads(1)
from trajtune.data.store import Dataset
from trajtune.training.config import PretrainConfig, TrainConfig
from trajtune.training.pretrain import pretrain

def progress(stage, done, total, metrics):
    if done == int(sys.argv[4]):
        os.kill(os.getpid(), signal.SIGKILL)

config = eval(sys.argv[5])
saved = pretrain(Dataset.open(Path(sys.argv[1])), [0, 1, 3, 4], 30, config, Path(sys.argv[2]),
                 processes=int(sys.argv[3]), progress=progress)
print(saved.digest)
"""


def start(data: Dataset, folder: Path, processes: int = 1, die_at: int = -1, **environ: str) -> subprocess.Popen[str]:
    return python(CHILD, str(data.path), str(folder), str(processes), str(die_at), repr(CONFIG), **environ)


@pytest.fixture(scope="module")
def whole(point_data: Dataset, tmp_path_factory: pytest.TempPathFactory) -> SavedAgent:
    return pretrain(point_data, TASKS, HORIZON, CONFIG, tmp_path_factory.mktemp("whole"))


class TestNormaliser:
    def test_is_fitted_on_the_training_tasks_alone(self, point_data: Dataset, whole: SavedAgent) -> None:
        data = point_data.select(TASKS, "medium")
        rows = np.concatenate([np.arange(s, s + n) for s, n in zip(data.start, data.length, strict=True)])
        observations = np.asarray(data.observations, np.float64)[rows]
        agent = whole.agent
        np.testing.assert_allclose(agent.observation_mean, observations.mean(0), rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(agent.observation_std, observations.std(0), rtol=1e-5)
        largest = max(
            abs(float(np.asarray(data.rewards)[s : s + n].sum())) for s, n in zip(data.start, data.length, strict=True)
        )
        assert float(agent.return_scale) == pytest.approx(largest, rel=1e-5)
        everything = np.asarray(point_data.select(None, None).loaded().observations)
        assert np.abs(everything.mean(0) - observations.mean(0)).max() > 0.05  # fitting on all would be seen

    def test_a_number_that_never_changes_is_left_as_it_is(self, point_data: Dataset, tmp_path: Path) -> None:
        from trajtune.training.pretrain import _fit_normaliser

        data = point_data.select(TASKS, "medium").loaded()
        constant = np.concatenate([data.observations[:, :1], np.full_like(data.observations[:, :1], 7.0)], axis=1)
        agent = new_agent(PromptDTConfig(2, 2, 30, width=8))
        _fit_normaliser(agent, replace(data, observations=constant))
        assert float(agent.observation_mean[1]) == 7.0
        assert float(agent.observation_std[1]) == 1.0


class TestResult:
    def test_is_an_agent_with_its_run_and_briefs(
        self, point_data: Dataset, whole: SavedAgent, point_agent_folder: Path
    ) -> None:
        run = whole.header["run"]
        assert (whole.suite, run["tasks"], run["data"]) == ("point", TASKS, point_data.identity())
        assert run["pretraining"]["training"]["steps"] == 8
        assert [row["step"] for row in whole.header["log"]] == [2, 4, 6, 8]
        assert whole.agent.spec.max_timesteps == HORIZON
        assert sorted(load_agent(point_agent_folder).briefs) == list(range(16))  # test tasks too
        files = {"agent.safetensors", "agent.json", "briefs.safetensors"}
        assert {p.name for p in point_agent_folder.iterdir()} == files

    def test_learns(self, point_agent: SavedAgent) -> None:
        """Medium data are half noise, which no agent predicts; what can be predicted is learned in 200 steps."""
        losses = [row["loss"] for row in point_agent.header["log"]]
        assert np.mean(losses[-5:]) < 0.97 * np.mean(losses[:2])
        fresh = PromptDT(point_agent.agent.spec)
        fresh.initialise(torch_stream(0, "agent"))
        for name in ("state_head.weight", "return_head.weight"):  # the loss reaches the action head alone
            assert torch.equal(fresh.get_parameter(name), point_agent.agent.get_parameter(name))

    def test_finished_is_not_done_again(self, point_data: Dataset, whole: SavedAgent, tmp_path: Path) -> None:
        pretrain(point_data, TASKS, HORIZON, CONFIG, tmp_path)
        stamp = (tmp_path / "agent.safetensors").stat().st_mtime_ns

        def never(*progress: object) -> None:
            raise AssertionError("trains again")

        again = pretrain(point_data, TASKS, HORIZON, CONFIG, tmp_path, progress=never)
        assert again.digest == whole.digest
        assert (tmp_path / "agent.safetensors").stat().st_mtime_ns == stamp
        smaller = replace(CONFIG, options={**CONFIG.options, "layers": 1})
        with pytest.raises(
            UserError, match=r"already holds an agent with another pretraining\.options\.layers, tasks: choose another"
        ):
            pretrain(point_data, TASKS[:2], HORIZON, smaller, str(tmp_path))


def test_killed_and_resumed_equals_uninterrupted(point_data: Dataset, whole: SavedAgent, tmp_path: Path) -> None:
    """With dropout on. The child dies in its fifth step; a checkpoint is kept every three."""
    child = start(point_data, tmp_path, die_at=5)
    _, errors = child.communicate(timeout=120)
    assert child.returncode == -signal.SIGKILL, errors
    assert {path.name for path in tmp_path.iterdir()} == {"checkpoint.safetensors", "unfinished.json"}
    steps: list[int] = []
    resumed = pretrain(
        point_data, TASKS, HORIZON, CONFIG, tmp_path, progress=lambda stage, done, *rest: steps.append(done)
    )
    assert steps == [4, 5, 6, 7, 8]
    assert resumed.digest == whole.digest
    assert resumed.header["log"] == whole.header["log"]
    no_dropout = replace(CONFIG, options={**CONFIG.options, "dropout": 0.0})
    assert pretrain(point_data, TASKS, HORIZON, no_dropout, tmp_path / "b").digest != whole.digest


def emulated(data: Dataset, processes: int) -> Agent:
    """What ``processes`` processes should arrive at, written out: each one's gradient, their mean, one step."""
    t, trajectories = CONFIG.training, data.select(TASKS, "medium")
    agent = PromptDT(PromptDTConfig(2, 2, HORIZON, 2, 16, 2, 4, 2, 0.1))
    agent.initialise(torch_stream(t.seed, "agent"))
    loaded = trajectories.loaded()
    agent.observation_mean.copy_(torch.as_tensor(loaded.observations.astype(np.float64).mean(0)))
    agent.observation_std.copy_(torch.as_tensor(loaded.observations.astype(np.float64).std(0)))
    agent.return_scale.fill_(float(np.abs(trajectories.returns).max()))
    agent.train()
    used = [p for n, p in agent.named_parameters() if not n.startswith(("state_head", "return_head"))]
    optimizer = torch.optim.AdamW(used, weight_decay=t.weight_decay)
    for step in range(t.steps):
        total = [torch.zeros_like(p) for p in used]
        for rank in range(processes):
            rng = stream(t.seed, "batch", step, rank)
            batch = draw_batch(trajectories, rng, t.batch // processes, 4, 2, HORIZON)
            torch.manual_seed(number(t.seed, "dropout", step, rank))
            loss = sft_loss(agent(batch), batch.window.actions, batch.window.mask)
            for sum_, gradient in zip(total, torch.autograd.grad(loss, used), strict=True):
                sum_ += gradient / processes
        norm = torch.sqrt(sum(g.square().sum() for g in total))
        for parameter, gradient in zip(used, total, strict=True):
            parameter.grad = gradient * min(1.0, t.grad_clip / float(norm))
        optimizer.param_groups[0]["lr"] = 1e-3 * min(1.0, (step + 1) / t.warmup)
        optimizer.step()
    return agent.eval()


def largest_difference(a: Agent, b: Agent) -> float:
    return max(float((x - y).detach().abs().max()) for x, y in zip(a.parameters(), b.parameters(), strict=True))


def test_one_process_equals_the_loop_written_out(point_data: Dataset, whole: SavedAgent) -> None:
    assert largest_difference(emulated(point_data, 1), whole.agent) < 2e-5


def test_two_processes_average_their_gradients(point_data: Dataset, whole: SavedAgent, tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    # What torchrun puts in the environment of each (accelerate launch --cpu starts a single process).
    group = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
    children = [start(point_data, tmp_path, 2, RANK=str(r), LOCAL_RANK=str(r), **group) for r in range(2)]
    try:
        answers = [child.communicate(timeout=120) for child in children]
    finally:
        for child in children:
            child.kill()
    assert [child.returncode for child in children] == [0, 0], answers
    saved = load_agent(tmp_path)
    assert [out.split()[-1] for out, _ in answers] == [saved.digest, saved.digest]
    assert saved.header["run"]["processes"] == 2
    assert largest_difference(emulated(point_data, 2), saved.agent) < 2e-5
    assert largest_difference(whole.agent, saved.agent) > 1e-3  # one process draws other batches


def test_more_processes_asked_for_than_run(point_data: Dataset, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="2 processes asked for, 1 are running"):
        pretrain(point_data, TASKS, HORIZON, CONFIG, tmp_path, processes=2)
