"""The loop: its schedule, its checkpoints, how it fails, and what it saves."""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.helpers import few_batch, quick, random_prompt, tuned
from trajtune.agents.saving import SavedAgent, identity
from trajtune.algorithms import ALGORITHMS, CRITIC, AlgorithmEntry
from trajtune.algorithms.base import Algorithm, Metrics, Shape, detached, make_algorithm
from trajtune.algorithms.configs import SFTConfig
from trajtune.algorithms.sft import SFT
from trajtune.compute.precision import compute_dtype, resolved
from trajtune.data.fewshot import FewShot
from trajtune.data.trajectories import Trajectories
from trajtune.errors import DivergedError, UserError
from trajtune.policy import Policy
from trajtune.rollout.score import evaluate
from trajtune.training import finetune as finetune_module
from trajtune.training.config import TrainConfig
from trajtune.training.loop import learning_rate
from trajtune.types import Batch

CONFIG = TrainConfig(steps=6, batch=8, warmup=0, checkpoint_every=2, log_every=1, precision="fp32")
CPU = torch.device("cpu")


def rewrite(path: Path, change: Callable[[bytes], bytes]) -> None:
    path.write_bytes(change(path.read_bytes()))


def edit_tensors(path: Path, change: Callable[[dict[str, Tensor]], object]) -> None:
    from safetensors import safe_open
    from safetensors.torch import save_file

    with safe_open(path, "pt") as file:
        metadata, tensors = file.metadata(), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    change(tensors)
    save_file(tensors, path, metadata=metadata)


class TestLearningRate:
    def test_warm_up_then_constant(self) -> None:
        config = TrainConfig(steps=10, warmup=4)
        rates = [learning_rate(config, 0.8, step) for step in range(6)]
        assert rates == pytest.approx([0.2, 0.4, 0.6, 0.8, 0.8, 0.8])

    def test_cosine_to_a_tenth(self) -> None:
        config = TrainConfig(steps=8, warmup=0, schedule="cosine")
        half = 0.1 + 0.9 * 0.5
        quarter = 0.1 + 0.9 * 0.5 * (1 + math.sqrt(0.5))  # cos(pi/4)
        assert learning_rate(config, 2.0, 0) == pytest.approx(2.0)
        assert learning_rate(config, 2.0, 2) == pytest.approx(2.0 * quarter)
        assert learning_rate(config, 2.0, 4) == pytest.approx(2.0 * half)
        assert learning_rate(config, 2.0, 8) == pytest.approx(0.2)

    def test_warm_up_and_cosine_together(self) -> None:
        config = TrainConfig(steps=8, warmup=4, schedule="cosine")
        assert learning_rate(config, 1.0, 1) == pytest.approx(0.5 * (0.1 + 0.45 * (1 + math.cos(math.pi / 8))))

    def test_is_what_the_optimiser_uses(self, point_agent: SavedAgent, point_few: FewShot) -> None:
        """Adam's first step moves a number by the learning rate, whatever its gradient."""
        for rate, steps in ((1e-3, 1), (4e-3, 1)):
            config = replace(CONFIG, steps=steps, learning_rate=rate, warmup=2, weight_decay=0.0)
            done = tuned(point_agent, point_few, "sft", "full", config)
            name = "action_head.bias"
            change = (done.policy.delta()[name] - point_agent.agent.get_parameter(name)).abs()
            torch.testing.assert_close(change, torch.full_like(change, rate / 2), rtol=1e-2, atol=0)

    def test_zero_is_a_learning_rate(self, point_agent: SavedAgent, point_few: FewShot) -> None:
        done = tuned(point_agent, point_few, "sft", "full", replace(CONFIG, learning_rate=0.0))
        assert done.policy.delta() == {}

    @pytest.mark.parametrize("name", ["steps", "batch", "checkpoint_every", "log_every"])
    def test_counts_start_at_one(self, name: str) -> None:
        with pytest.raises(UserError, match=f"{name} must be at least 1, got 0"):
            TrainConfig(**{name: 0})


class TestLearning:
    def test_loss_falls_and_log_has_every_nth_step(self, point_agent: SavedAgent, point_few: FewShot) -> None:
        seen: list[tuple[str, int, int, bool]] = []
        done = tuned(
            point_agent,
            point_few,
            "sft",
            "full",
            replace(CONFIG, steps=50, log_every=20, learning_rate=1e-3, batch=32),
            progress=lambda stage, done, total, metrics: seen.append((stage, done, total, bool(metrics))),
        )
        assert [row["step"] for row in done.log] == [20, 40, 50]  # the last one always
        assert seen == [("sft x full (updates)", n, 50, n in (20, 40, 50)) for n in range(1, 51)]
        assert done.log[0].keys() == {"step", "loss", "sft", "grad_norm"}
        batch = few_batch(point_agent, point_few)
        with torch.no_grad():
            errors = [
                (mean - batch.window.actions)[batch.window.mask].square().mean()
                for mean in (done.policy.reference(batch).mean, done.policy(batch))
            ]
        assert errors[1] < 0.9 * errors[0]

    def test_gradient_is_clipped(self, point_agent: SavedAgent, point_few: FewShot) -> None:
        """Adam forgets the scale of gradients, but not below its epsilon of 1e-8."""

        def largest_move(clip: float) -> float:
            config = replace(CONFIG, steps=4, grad_clip=clip, weight_decay=0.0)
            delta = tuned(point_agent, point_few, "sft", "full", config).policy.delta()
            return max(float((t - point_agent.agent.get_parameter(n)).detach().abs().max()) for n, t in delta.items())

        assert largest_move(1e-9) < 1e-4 < 2e-4 < largest_move(1e3)

    def test_seeds_differ_and_repeat(self, point_agent: SavedAgent, point_few: FewShot) -> None:
        def weights(seed: int) -> Tensor:
            return tuned(point_agent, point_few, "sft", "full", replace(CONFIG, seed=seed)).policy.delta()[
                "action_head.weight"
            ]

        state = torch.random.get_rng_state()
        assert torch.equal(weights(0), weights(0)) and not torch.equal(weights(0), weights(1))
        assert torch.equal(torch.random.get_rng_state(), state)  # the caller's own stream is left alone

    def test_data_of_another_shape_or_suite(self, point_agent: SavedAgent, point_few: FewShot) -> None:
        t = point_few.trajectories
        wide = replace(point_few, trajectories=replace(t, observations=t.observations.repeat(2, axis=1)))
        with pytest.raises(UserError, match="the data has 4 observations and 2 actions, the agent 2 and 2"):
            tuned(point_agent, wide, "sft", "full", CONFIG)
        with pytest.raises(UserError, match="pretrained on suite point, the data is of ant-dir"):
            tuned(point_agent, replace(point_few, suite="ant-dir"), "sft", "full", CONFIG)
        long = replace(point_few, trajectories=replace(t, length=t.length + 1))
        with pytest.raises(UserError, match="a trajectory has 31 steps, the agent knows 30"):
            tuned(point_agent, long, "sft", "full", CONFIG)

    def test_prompts_of_another_length(self, point_agent: SavedAgent, point_few: FewShot) -> None:
        for prompts, own in ((None, 0), (random_prompt(2, 2, 2, rows=4), 2)):
            other = replace(point_few, brief=replace(point_few.brief, prompts=prompts))
            with pytest.raises(UserError, match=f"the brief has prompts of {own} steps, the agent reads 3"):
                tuned(point_agent, other, "sft", "full", CONFIG)
            with pytest.raises(UserError, match=f"the brief has prompts of {own} steps, the agent reads 3"):
                evaluate(point_agent, "point", 5, other.brief, episodes=1)

    def test_unknown_names_list_the_choices(self, point_agent: SavedAgent, point_few: FewShot) -> None:
        with pytest.raises(UserError, match=r"unknown algorithm 'sfd': did you mean sft\? choose one of sft, .*qp-sft"):
            tuned(point_agent, point_few, "sfd", "full", CONFIG)
        with pytest.raises(UserError, match=r"unknown tuning 'ful': did you mean full\? choose one of .*adapter.*full"):
            tuned(point_agent, point_few, "sft", "ful", CONFIG)
        with pytest.raises(UserError, match=r"option of algorithm qp-sft 'alhpa': did you mean alpha"):
            tuned(point_agent, point_few, "qp-sft", "full", CONFIG, options={"alhpa": 1.0})


class FailingLoss(SFT):
    """SFT whose loss, or gradient alone, stops being a number at the fourth step."""

    calls = 0

    def loss(self, policy: Policy, batch: Batch, mean: Tensor) -> tuple[Tensor, Metrics]:
        self.calls += 1
        loss, metrics = super().loss(policy, batch, mean)
        return (loss, metrics) if self.calls < 4 else self.fail(loss, metrics, mean)

    def fail(self, loss: Tensor, metrics: Metrics, mean: Tensor) -> tuple[Tensor, Metrics]:
        return loss * math.nan, {**metrics, **detached(bad_term=loss * math.inf)}


class FailingGradient(FailingLoss):
    def fail(self, loss: Tensor, metrics: Metrics, mean: Tensor) -> tuple[Tensor, Metrics]:
        return loss + (mean * 0.0).sum().sqrt(), metrics  # the square root of 0 is 0, its slope is not finite


CRITICS = [
    name for name, entry in ALGORITHMS.items() if CRITIC in entry.configs and name != "awr"
]  # whose critic rests


class TestDivergence:
    @pytest.mark.parametrize(
        ("algorithm", "names"),
        [(FailingLoss, "loss, bad_term, grad_norm not finite"), (FailingGradient, "grad_norm not finite")],
    )
    def test_names_the_run_the_step_and_the_term(
        self,
        point_agent: SavedAgent,
        point_few: FewShot,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        algorithm: type[SFT],
        names: str,
    ) -> None:
        entry = AlgorithmEntry("fails", {"": SFTConfig}, f"{__name__}:{algorithm.__name__}")
        monkeypatch.setitem(ALGORITHMS._own, "stub", entry)
        monkeypatch.setattr("trajtune.algorithms.base.resolve", lambda reference: algorithm)
        with pytest.raises(DivergedError) as caught:
            tuned(point_agent, point_few, "stub", "full", CONFIG, folder=tmp_path)
        assert f"stub x full diverged at step 4: {names}" in str(caught.value)
        assert "\n" not in str(caught.value)
        from safetensors import safe_open

        with safe_open(tmp_path / "checkpoint.safetensors", "pt") as file:  # the one of step 2 is kept
            assert file.metadata()["step"] == "2"
            assert all(file.get_tensor(name).isfinite().all() for name in file.keys())  # noqa: SIM118
        assert {path.name for path in tmp_path.iterdir()} == {"checkpoint.safetensors", "log.jsonl", "unfinished.json"}
        assert identity(point_agent.agent) == point_agent.digest

    @pytest.mark.parametrize("name", ALGORITHMS)
    def test_a_batch_that_is_no_number(
        self, point_agent: SavedAgent, point_few: FewShot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
    ) -> None:
        """Whatever the algorithm: the run ends, says where, and keeps a checkpoint that can be gone on from."""
        calls = iter(range(99))

        def poisoned(name: str, options: object) -> Algorithm:
            algorithm = make_algorithm(name, options)
            drawn = algorithm.draw

            def draw(data: Trajectories, rng: np.random.Generator, shape: Shape) -> Batch:
                batch = drawn(data, rng, shape)
                if next(calls) < 3:
                    return batch
                return replace(batch, window=replace(batch.window, observations=batch.window.observations * math.nan))

            monkeypatch.setattr(algorithm, "draw", draw)
            return algorithm

        with monkeypatch.context() as patch:
            patch.setattr(finetune_module, "make_algorithm", poisoned)
            with pytest.raises(
                DivergedError, match=rf"{name} x adapter diverged at step 4: .*loss.* not finite; the last"
            ):
                tuned(point_agent, point_few, name, "adapter", CONFIG, folder=tmp_path, options=quick(name))
        resumed = tuned(point_agent, point_few, name, "adapter", CONFIG, folder=tmp_path, options=quick(name))
        whole = tuned(point_agent, point_few, name, "adapter", CONFIG, options=quick(name))
        assert resumed.log == whole.log

    @pytest.mark.parametrize("name", ALGORITHMS)
    def test_an_absurd_learning_rate(self, point_agent: SavedAgent, point_few: FewShot, name: str) -> None:
        with pytest.raises(DivergedError, match=rf"{name} x full diverged at step \d: .*loss.* not finite"):
            tuned(point_agent, point_few, name, "full", replace(CONFIG, learning_rate=1e38), options=quick(name))

    @pytest.mark.parametrize("name", CRITICS)
    def test_an_absurd_learning_rate_of_a_critic(self, point_agent: SavedAgent, point_few: FewShot, name: str) -> None:
        """Also where the policy's loss does not notice at once: PPO's advantages are of its last snapshot."""
        options = {**quick(name, trust=False), "critic.learning_rate": 1e30}
        with pytest.raises(
            DivergedError, match=rf"{name} x full diverged at step [12]: .*(q_pol|value_l|td|largest).* not finite"
        ):
            tuned(point_agent, point_few, name, "full", CONFIG, options=options)


UNTRUSTED = {**quick("qp-sft"), "trust": False}
"""There is a critic, whatever the data."""


@pytest.fixture
def unfinished(point_agent: SavedAgent, point_few: FewShot, tmp_path: Path) -> Path:
    """A folder with a checkpoint after four of six steps of qp-sft x adapter."""
    folder = tmp_path / "run"

    def stop(step: int, policy: Policy) -> None:
        if step == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tuned(point_agent, point_few, "qp-sft", "adapter", CONFIG, options=UNTRUSTED, folder=folder, watch=stop)
    return folder


class TestCheckpoints:
    @pytest.mark.parametrize(
        ("arguments", "names"),
        [
            ({"algorithm": "sft", "options": {}}, "recipe.algorithm, recipe.options.alpha, "),
            ({"tuning": "full"}, "recipe.training.learning_rate, recipe.tuning, recipe.tuning_options."),
            ({"config": replace(CONFIG, seed=1)}, "recipe.training.seed:"),
            ({"config": replace(CONFIG, learning_rate=0.1)}, "recipe.training.learning_rate:"),
            ({"options": {**UNTRUSTED, "alpha": 0.5}}, "recipe.options.alpha:"),
            (
                {"tuning_options": {"method": "IA3", "options": {"feedforward_modules": []}}},
                "recipe.tuning_options.method, recipe.tuning_options.options.feedforward_modules:",
            ),
            ({"std": 0.3}, "recipe.std:"),
        ],
    )
    def test_of_another_recipe(
        self, point_agent: SavedAgent, point_few: FewShot, unfinished: Path, arguments: dict, names: str
    ) -> None:
        call = {
            "algorithm": "qp-sft",
            "tuning": "adapter",
            "config": CONFIG,
            "folder": unfinished,
            "options": UNTRUSTED,
            **arguments,
        }
        with pytest.raises(UserError) as caught:
            tuned(point_agent, point_few, **call)
        assert str(caught.value).startswith(f"{unfinished} holds an unfinished delta with another {names}")

    def test_of_another_task_data_or_base(self, point_agent: SavedAgent, point_few: FewShot, unfinished: Path) -> None:
        def resume(base: SavedAgent, data: FewShot) -> None:
            tuned(base, data, "qp-sft", "adapter", CONFIG, options=UNTRUSTED, folder=unfinished)

        t = point_few.trajectories
        with pytest.raises(UserError, match=r"another data\.task:"):
            resume(point_agent, replace(point_few, task=9))
        with pytest.raises(UserError, match=r"another data\.trajectories:"):
            resume(point_agent, replace(point_few, trajectories=replace(t, rewards=t.rewards + 1)))
        with pytest.raises(UserError, match="another base:"):
            resume(replace(point_agent, digest="0" * 64), point_few)

    @pytest.mark.parametrize(
        "damage",
        [
            lambda p: rewrite(p, lambda b: b[: len(b) // 2]),
            lambda p: rewrite(p, lambda b: b[:-1]),
            lambda p: rewrite(p, lambda b: b""),
            lambda p: rewrite(p, lambda b: b"\x80\x05" + b),
            lambda p: rewrite(p, lambda b: b.replace(b'"step":"4"', b'"step":"x"')),
            lambda p: rewrite(p, lambda b: b.replace(b'"step":"4"', b'"stop":"4"')),
            lambda p: edit_tensors(p, lambda t: t.pop(next(n for n in t if n.startswith("policy/")))),
            lambda p: edit_tensors(p, lambda t: t.pop("optimizer/policy/0/exp_avg")),
            lambda p: edit_tensors(p, lambda t: t.pop("optimizer/critic/2/exp_avg_sq")),
            lambda p: edit_tensors(p, lambda t: t.pop("network/critic/weights.1")),
            lambda p: edit_tensors(p, lambda t: t.update({"policy/strange": torch.zeros(3)})),
            lambda p: edit_tensors(p, lambda t: t.update({"network/critic/weights.0": torch.zeros(3)})),
            lambda p: edit_tensors(p, lambda t: t.update({"optimizer/policy/0/exp_avg": torch.zeros(3)})),
            lambda p: rewrite(p, lambda b: b[:-4] + bytes(x ^ 1 for x in b[-4:])),
        ],
    )
    def test_damaged(
        self, point_agent: SavedAgent, point_few: FewShot, unfinished: Path, damage: Callable[[Path], object]
    ) -> None:
        path = unfinished / "checkpoint.safetensors"
        before = path.read_bytes()
        damage(path)
        assert path.read_bytes() != before
        with pytest.raises(UserError, match=r"checkpoint\.safetensors is damaged .*delete it to start again"):
            tuned(point_agent, point_few, "qp-sft", "adapter", CONFIG, options=UNTRUSTED, folder=unfinished)


class TestPrecision:
    def test_flags(self, monkeypatch: pytest.MonkeyPatch) -> None:
        assert compute_dtype("fp32", CPU) == torch.float32
        assert compute_dtype("bf16", CPU) == torch.bfloat16
        for avx, amx, expected in ((True, False, torch.bfloat16), (False, True, torch.bfloat16), (False, False, None)):
            monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda avx=avx: avx)
            monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda amx=amx: amx)
            assert compute_dtype("auto", CPU) == (expected or torch.float32)
            assert resolved("auto", CPU) == ("bf16" if expected else "fp32")

    def test_bf16_roughly_agrees(self, point_agent: SavedAgent, point_few: FewShot) -> None:
        batch = few_batch(point_agent, point_few)
        means, losses = [], []
        for precision in ("fp32", "bf16"):
            done = tuned(point_agent, point_few, "qp-sft", "full", replace(CONFIG, precision=precision))
            assert {p.dtype for p in done.policy.parameters()} == {torch.float32}
            with torch.no_grad():
                means.append(done.policy(batch))
            losses.append([row["base.sft"] for row in done.log])
        assert not torch.equal(means[0], means[1])
        assert (means[0] - means[1]).abs().max() < 0.02
        assert losses[0] == pytest.approx(losses[1], rel=0.05)
