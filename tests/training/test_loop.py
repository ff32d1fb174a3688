"""The loop: its schedule, its checkpoints, how it fails, and what it saves."""

import json
import math
import shutil
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from trajtune.agents import SavedAgent
from trajtune.agents.saving import digest
from trajtune.algorithms import ALGORITHMS, Algorithm, Entry, Shape
from trajtune.algorithms.base import Metrics, detached
from trajtune.algorithms.sft import SFT, SFTConfig
from trajtune.data import Trajectories, draw_batch
from trajtune.errors import DivergedError, UserError
from trajtune.policy import Policy
from trajtune.training import FewShot, TrainConfig, finetune
from trajtune.training.loop import learning_rate
from trajtune.training.precision import compute_dtype
from trajtune.tunings.saving import load_delta
from trajtune.types import Batch

CONFIG = TrainConfig(steps=6, batch=8, warmup=0, checkpoint_every=2, log_every=1, precision="fp32")
CPU = torch.device("cpu")


def some_batch(base: SavedAgent, few: FewShot) -> Batch:
    size = base.agent.config
    return draw_batch(few.trajectories, np.random.default_rng(1), 16, size.window, size.prompt)


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
            done = finetune(point_agent, point_few, "sft", "full", config)
            name = "action_head.bias"
            change = (done.policy.delta()[name] - point_agent.agent.get_parameter(name)).abs()
            torch.testing.assert_close(change, torch.full_like(change, rate / 2), rtol=1e-2, atol=0)

    def test_zero_is_a_learning_rate(self, point_agent: SavedAgent, point_few: FewShot) -> None:
        done = finetune(point_agent, point_few, "sft", "full", replace(CONFIG, learning_rate=0.0))
        assert done.policy.delta() == {}

    @pytest.mark.parametrize("name", ["steps", "batch", "checkpoint_every", "log_every"])
    def test_counts_start_at_one(self, name: str) -> None:
        with pytest.raises(UserError, match=f"{name} must be at least 1, got 0"):
            TrainConfig(**{name: 0})


class TestLearning:
    def test_loss_falls_and_log_has_every_nth_step(self, point_agent: SavedAgent, point_few: FewShot) -> None:
        seen: list[tuple[int, bool]] = []
        done = finetune(
            point_agent,
            point_few,
            "sft",
            "full",
            replace(CONFIG, steps=50, log_every=20, learning_rate=1e-3, batch=32),
            on_step=lambda step, policy, metrics: seen.append((step, bool(metrics))),
        )
        assert [row["step"] for row in done.log] == [20, 40, 50]  # the last one always
        assert seen == [(step, step in (20, 40, 50)) for step in range(1, 51)]
        assert done.log[0].keys() == {"step", "loss", "sft", "grad_norm"}
        batch = some_batch(point_agent, point_few)
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
            delta = finetune(point_agent, point_few, "sft", "full", config).policy.delta()
            return max(float((t - point_agent.agent.get_parameter(n)).detach().abs().max()) for n, t in delta.items())

        assert largest_move(1e-9) < 1e-4 < 2e-4 < largest_move(1e3)

    def test_seeds_differ_and_repeat(self, point_agent: SavedAgent, point_few: FewShot) -> None:
        def weights(seed: int) -> Tensor:
            return finetune(point_agent, point_few, "sft", "full", replace(CONFIG, seed=seed)).policy.delta()[
                "action_head.weight"
            ]

        state = torch.random.get_rng_state()
        assert torch.equal(weights(0), weights(0)) and not torch.equal(weights(0), weights(1))
        assert torch.equal(torch.random.get_rng_state(), state)  # the caller's own stream is left alone

    def test_data_of_another_shape_or_suite(self, point_agent: SavedAgent, point_few: FewShot) -> None:
        t = point_few.trajectories
        wide = replace(point_few, trajectories=replace(t, observations=t.observations.repeat(2, axis=1)))
        with pytest.raises(UserError, match="the data has 4 observations and 2 actions, the agent 2 and 2"):
            finetune(point_agent, wide, "sft", "full", CONFIG)
        with pytest.raises(UserError, match="pretrained on suite point, the data is of ant-dir"):
            finetune(point_agent, replace(point_few, suite="ant-dir"), "sft", "full", CONFIG)
        long = replace(point_few, trajectories=replace(t, length=t.length + 1))
        with pytest.raises(UserError, match="a trajectory has 31 steps, the agent knows 30"):
            finetune(point_agent, long, "sft", "full", CONFIG)

    def test_unknown_names_list_the_choices(self, point_agent: SavedAgent, point_few: FewShot) -> None:
        with pytest.raises(UserError, match=r"unknown algorithm 'sfd': choose one of sft, .*qp-sft"):
            finetune(point_agent, point_few, "sfd", "full", CONFIG)
        with pytest.raises(UserError, match=r"unknown tuning 'ful': choose one of .*adapter.*full"):
            finetune(point_agent, point_few, "sft", "ful", CONFIG)
        with pytest.raises(UserError, match=r"option of algorithm qp-sft 'alhpa': choose one of .*alpha"):
            finetune(point_agent, point_few, "qp-sft", "full", CONFIG, algorithm_options={"alhpa": 1.0})


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


def critic_option(entry: Entry) -> bool:
    return any(field.name == "critic_learning_rate" for config in entry.configs for field in fields(config))


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
        monkeypatch.setitem(ALGORITHMS, "stub", Entry(algorithm, (SFTConfig,)))
        with pytest.raises(DivergedError) as caught:
            finetune(point_agent, point_few, "stub", "full", CONFIG, folder=tmp_path)
        assert f"stub x full diverged at step 4: {names}" in str(caught.value)
        assert "\n" not in str(caught.value)
        from safetensors import safe_open

        with safe_open(tmp_path / "checkpoint.safetensors", "pt") as file:  # the one of step 2 is kept
            assert file.metadata()["step"] == "2"
            assert all(file.get_tensor(name).isfinite().all() for name in file.keys())  # noqa: SIM118
        assert [path.name for path in tmp_path.iterdir()] == ["checkpoint.safetensors"]
        assert digest(point_agent.agent) == point_agent.digest

    @pytest.mark.parametrize("name", ALGORITHMS)
    def test_a_batch_that_is_no_number(
        self, point_agent: SavedAgent, point_few: FewShot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
    ) -> None:
        """Whatever the algorithm: the run ends, says where, and keeps a checkpoint that can be gone on from."""
        built = ALGORITHMS[name]

        def poisoned(*configs: object) -> Algorithm:
            algorithm = built.build(*configs)
            drawn, calls = algorithm.draw, iter(range(99))

            def draw(data: Trajectories, rng: np.random.Generator, shape: Shape) -> Batch:
                batch = drawn(data, rng, shape)
                if next(calls) < 3:
                    return batch
                return replace(batch, window=replace(batch.window, observations=batch.window.observations * math.nan))

            monkeypatch.setattr(algorithm, "draw", draw)
            return algorithm

        monkeypatch.setitem(ALGORITHMS, name, built._replace(build=poisoned))
        with pytest.raises(DivergedError, match=rf"{name} x adapter diverged at step 4: .*loss.* not finite; the last"):
            finetune(point_agent, point_few, name, "adapter", CONFIG, folder=tmp_path)
        monkeypatch.setitem(ALGORITHMS, name, built)
        resumed = finetune(point_agent, point_few, name, "adapter", CONFIG, folder=tmp_path)
        whole = finetune(point_agent, point_few, name, "adapter", CONFIG)
        assert resumed.log == whole.log

    @pytest.mark.parametrize("name", ALGORITHMS)
    def test_an_absurd_learning_rate(self, point_agent: SavedAgent, point_few: FewShot, name: str) -> None:
        with pytest.raises(DivergedError, match=rf"{name} x full diverged at step \d: .*loss.* not finite"):
            finetune(point_agent, point_few, name, "full", replace(CONFIG, learning_rate=1e38))

    @pytest.mark.parametrize("name", [n for n, entry in ALGORITHMS.items() if critic_option(entry)])
    def test_an_absurd_learning_rate_of_a_critic(self, point_agent: SavedAgent, point_few: FewShot, name: str) -> None:
        """Also where the policy's loss does not notice at once: PPO's advantages are of its last snapshot."""
        options = {"critic_learning_rate": 1e30}
        with pytest.raises(
            DivergedError, match=rf"{name} x full diverged at step [12]: .*(q_pol|value_l).* not finite"
        ):
            finetune(point_agent, point_few, name, "full", CONFIG, algorithm_options=options)


@pytest.fixture
def unfinished(point_agent: SavedAgent, point_few: FewShot, tmp_path: Path) -> Path:
    """A folder with a checkpoint after four of six steps of qp-sft x adapter."""
    folder = tmp_path / "run"

    def stop(step: int, policy: Policy, metrics: dict[str, float]) -> None:
        if step == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        finetune(point_agent, point_few, "qp-sft", "adapter", CONFIG, folder=folder, on_step=stop)
    return folder


class TestCheckpoints:
    @pytest.mark.parametrize(
        ("arguments", "names"),
        [
            ({"algorithm": "sft"}, "another algorithm, algorithm_options:"),
            ({"tuning": "full"}, "another training, tuning, tuning_options:"),
            ({"config": replace(CONFIG, seed=1)}, "another seed, training:"),
            ({"config": replace(CONFIG, learning_rate=0.1)}, "another training:"),
            ({"algorithm_options": {"alpha": 0.5}}, "another algorithm_options:"),
            ({"tuning_options": {"method": "IA3", "options": {}}}, "another tuning_options:"),
            ({"std": 0.3}, "another std:"),
        ],
    )
    def test_of_another_run(
        self, point_agent: SavedAgent, point_few: FewShot, unfinished: Path, arguments: dict, names: str
    ) -> None:
        call = {"algorithm": "qp-sft", "tuning": "adapter", "config": CONFIG, "folder": unfinished, **arguments}
        if "tuning_options" in arguments:
            call["tuning_options"]["options"] = {"feedforward_modules": []}
        with pytest.raises(UserError) as caught:
            finetune(point_agent, point_few, **call)
        assert str(unfinished) in str(caught.value)
        assert names in str(caught.value)

    def test_of_another_task_data_or_base(self, point_agent: SavedAgent, point_few: FewShot, unfinished: Path) -> None:
        def resume(base: SavedAgent, data: FewShot) -> None:
            finetune(base, data, "qp-sft", "adapter", CONFIG, folder=unfinished)

        with pytest.raises(UserError, match="another task:"):
            resume(point_agent, replace(point_few, task=9))
        with pytest.raises(UserError, match="another data_seed:"):
            resume(point_agent, replace(point_few, source={**point_few.source, "data_seed": 5}))
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
            lambda p: edit_tensors(p, lambda t: t.pop("algorithm/critic.weights.1")),
            lambda p: edit_tensors(p, lambda t: t.update({"policy/strange": torch.zeros(3)})),
            lambda p: edit_tensors(p, lambda t: t.update({"algorithm/critic.weights.0": torch.zeros(3)})),
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
            finetune(point_agent, point_few, "qp-sft", "adapter", CONFIG, folder=unfinished)


class TestPrecision:
    def test_flags(self, monkeypatch: pytest.MonkeyPatch) -> None:
        assert compute_dtype("fp32", CPU) == torch.float32
        assert compute_dtype("bf16", CPU) == torch.bfloat16
        for avx, amx, expected in ((True, False, torch.bfloat16), (False, True, torch.bfloat16), (False, False, None)):
            monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda avx=avx: avx)
            monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda amx=amx: amx)
            assert compute_dtype("auto", CPU) == (expected or torch.float32)

    def test_bf16_roughly_agrees(self, point_agent: SavedAgent, point_few: FewShot) -> None:
        batch = some_batch(point_agent, point_few)
        means, losses = [], []
        for precision in ("fp32", "bf16"):
            done = finetune(point_agent, point_few, "qp-sft", "full", replace(CONFIG, precision=precision))
            assert {p.dtype for p in done.policy.parameters()} == {torch.float32}
            with torch.no_grad():
                means.append(done.policy(batch))
            losses.append([row["sft"] for row in done.log])
        assert not torch.equal(means[0], means[1])
        assert (means[0] - means[1]).abs().max() < 0.02
        assert losses[0] == pytest.approx(losses[1], rel=0.05)


@pytest.fixture(scope="module")
def saved(point_agent: SavedAgent, point_few: FewShot, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One finished delta of each kind."""
    folders = {}
    for tuning in ("full", "adapter"):
        folders[tuning] = tmp_path_factory.mktemp("deltas") / tuning
        config = replace(CONFIG, learning_rate=5e-3)
        finetune(point_agent, point_few, "sft", tuning, config, folder=folders[tuning])
    return folders


class TestDeltas:
    def test_full_stores_only_what_moved(self, point_agent: SavedAgent, saved: dict[str, Path]) -> None:
        from safetensors.numpy import load_file

        names = set(load_file(saved["full"] / "delta.safetensors"))
        agent = {name for name, _ in point_agent.agent.named_parameters()}
        untouched = {name for name in agent if name.startswith(("state_head", "return_head"))}
        assert len(untouched) == 4 and names <= agent
        assert names & untouched == set()
        assert {"action_head.weight", "transformer.blocks.0.mlp.up.weight"} <= names
        meta = json.loads((saved["full"] / "delta.json").read_text())
        assert meta["bytes"] == sum(a.nbytes for a in load_file(saved["full"] / "delta.safetensors").values())

    def test_adapter_is_what_plain_peft_loads(
        self, point_agent: SavedAgent, point_few: FewShot, saved: dict[str, Path]
    ) -> None:
        import copy

        from peft import PeftModel

        batch = some_batch(point_agent, point_few)
        loaded = PeftModel.from_pretrained(copy.deepcopy(point_agent.agent), str(saved["adapter"])).eval()
        ours = load_delta(saved["adapter"], point_agent).policy
        with torch.no_grad():
            assert torch.equal(loaded.base_model.model(batch), ours(batch))
            assert (ours(batch) - point_agent.agent(batch)).abs().max() > 1e-3

    @pytest.mark.parametrize("tuning", ["full", "adapter"])
    def test_plain_acts_as_the_policy(
        self, point_agent: SavedAgent, point_few: FewShot, saved: dict[str, Path], tuning: str
    ) -> None:
        policy, batch = load_delta(saved[tuning], point_agent).policy, some_batch(point_agent, point_few)
        plain = policy.plain()
        with torch.no_grad():
            torch.testing.assert_close(plain.agent(batch), policy(batch), rtol=0, atol=1e-5)
        assert not any(p.requires_grad for p in plain.agent.parameters())
        assert [n for n, _ in plain.agent.named_parameters()] == [n for n, _ in point_agent.agent.named_parameters()]

    def test_for_another_base(self, point_agent: SavedAgent, saved: dict[str, Path]) -> None:
        with pytest.raises(UserError, match=f"belongs to another base: agent {point_agent.digest[:12]}, not 00000000"):
            load_delta(saved["full"], replace(point_agent, digest="0" * 64))

    def test_finished_folder_of_another_run(
        self, point_agent: SavedAgent, point_few: FewShot, saved: dict[str, Path]
    ) -> None:
        with pytest.raises(UserError, match="another algorithm, algorithm_options, training: choose another"):
            finetune(point_agent, point_few, "qp-sft", "full", CONFIG, folder=saved["full"])

    @pytest.mark.parametrize(
        ("tuning", "damage", "names"),
        [
            ("full", lambda f: (f / "delta.json").unlink(), "delta.json"),
            ("full", lambda f: (f / "delta.safetensors").unlink(), "delta.safetensors"),
            ("adapter", lambda f: (f / "adapter_model.safetensors").unlink(), "adapter_model.safetensors"),
            ("full", lambda f: (f / "prompts.json").unlink(), "prompts.json"),
            ("full", lambda f: (f / "prompts.json").write_text("{}"), "damaged"),
            ("full", lambda f: rewrite(f / "delta.json", lambda b: b[:99]), "delta.json"),
            ("full", lambda f: rewrite(f / "delta.json", lambda b: b.replace(b"ne-delta", b"ne-agent")), "delta.json"),
            ("full", lambda f: edit_meta(f, version=2), "delta version 2; this trajtune reads 1"),
            ("full", lambda f: edit_meta(f, tuning="prefix"), "unknown tuning 'prefix'"),
            ("full", lambda f: edit_meta(f, tuning=["full"]), "does not fit"),
            ("full", lambda f: edit_meta(f, tuning="adapter"), "adapter_model.safetensors"),
            ("full", lambda f: edit_meta(f, tuning_options=[1]), "does not fit"),
            ("full", lambda f: edit_meta(f, std=None), "does not fit"),
            ("full", lambda f: edit_meta(f, seed=math.inf), "does not fit"),
            ("full", lambda f: rewrite(f / "delta.safetensors", lambda b: b[:-1]), "delta.safetensors"),
            ("full", lambda f: rewrite(f / "delta.safetensors", lambda b: b"nonsense"), "delta.safetensors"),
            ("full", lambda f: edit_delta(f, lambda t: t["action_head.bias"].fill_(math.nan)), "digest"),
            ("full", lambda f: edit_delta(f, lambda t: t.pop("action_head.bias")), "digest"),
            ("full", lambda f: edit_delta(f, lambda t: t.update(extra=torch.zeros(2))), "extra"),
            ("full", lambda f: edit_delta(f, lambda t: t.update({"action_head.bias": torch.zeros(9)})), "(9,)"),
            ("adapter", lambda f: edit_delta(f, lambda t: t.pop(next(iter(t)))), "does not fit"),
            ("adapter", lambda f: edit_delta(f, lambda t: next(iter(t.values())).fill_(math.inf)), "digest"),
            ("adapter", lambda f: edit_delta(f, lambda t: t.update({n: t[n][:1] for n in list(t)[:1]})), "expected"),
        ],
    )
    def test_damaged(
        self,
        point_agent: SavedAgent,
        saved: dict[str, Path],
        tmp_path: Path,
        tuning: str,
        damage: Callable[[Path], object],
        names: str,
    ) -> None:
        folder = tmp_path / "delta"
        shutil.copytree(saved[tuning], folder)
        damage(folder)
        with pytest.raises(UserError) as caught:
            load_delta(folder, point_agent)
        assert str(folder) in str(caught.value) or "unknown tuning" in str(caught.value)
        assert names in str(caught.value)
        assert "\n" not in str(caught.value)


def edit_meta(folder: Path, **values: object) -> None:
    path = folder / "delta.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def edit_delta(folder: Path, change: Callable[[dict[str, Tensor]], object]) -> None:
    (path,) = (p for p in folder.glob("*.safetensors") if p.name != "prompts.safetensors")
    edit_tensors(path, change)
