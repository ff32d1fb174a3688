"""Options that make no sense: one line that names the culprit, exit code 2, and nothing written."""

from pathlib import Path

import pytest

from tests.cli.commands import collect, evaluate, finetune, merge, pretrain, run
from tests.cli.conftest import Refuse
from trajtune.agents.saving import initialise, save_agent
from trajtune.data.store import Dataset

SEED = "seed must be 0 to 4294967295"


@pytest.mark.parametrize(
    ("options", "culprit"),
    [
        (["--tasks", "16"], "suite point has no task 16: choose 0 to 15"),
        (["--tasks", "-1"], "suite point has no task -1"),
        (["--tasks", "some"], "'some' is neither all, train, test nor a list"),
        (["--tasks", ""], "'' is neither"),
        (["--quality", "nonsense"], "unknown quality 'nonsense': choose one of expert, medium"),
        (["--quality", "medium,medium"], "quality medium is named twice"),
        (["--trajectories", "0"], "trajectories must be at least 1, got 0"),
        (["--trajectories", "-2"], "trajectories must be at least 1, got -2"),
        (["--seed", "-1"], SEED),
        (["--seed", str(2**32)], SEED),
        (["--updates", "-1"], "updates must be at least 1"),
        (["--workers", "-1"], "workers must be at least 1"),
        (["--experts", "nonsense"], "nonsense"),
    ],
)
def test_collect(refuse: Refuse, tmp_path: Path, options: list[str], culprit: str) -> None:
    refuse(collect(tmp_path / "out", *options), culprit)


def test_collect_without_a_script(refuse: Refuse, tmp_path: Path) -> None:
    command = ["collect", "cheetah-vel", "--experts", "scripted", "--out", tmp_path / "out"]
    refuse(command, "'scripted': did you mean shipped? choose one of shipped, goal-conditioned")


@pytest.mark.parametrize(
    ("options", "culprit"),
    [
        (["--steps", "0"], "steps must be at least 1, got 0"),
        (["--batch", "0"], "batch must be at least 1, got 0"),
        (["--seed", "-1"], SEED),
        (["--learning-rate", "-1"], "learning_rate"),
        (["--learning-rate", "nan"], "learning_rate"),
        (["--learning-rate", "inf"], "learning_rate"),
        (["--learning-rate", "None"], "learning rate"),
        (["--tasks", "16"], "suite point has no task 16"),
        (["--quality", "nonsense"], "unknown quality 'nonsense': choose one of expert, medium"),
        (["--agent", "nonsense"], "unknown agent 'nonsense': choose one of prompt-dt"),
        (["--set", "layer=2"], "'layer': did you mean layers?"),
        (["--set", "nonsense"], "option 'nonsense' is not NAME=VALUE"),
        (["--set", "layers=3"], "option layers is given twice"),
        (["--set", "heads=3"], "width (16) must be a multiple of its heads (3)"),
        (["--set", "heads=two"], "heads must be of type int, got 'two'"),
        (["--set", "heads=0"], "heads"),
        (["--set", "dropout=1"], "dropout"),
        (["--set", "dropout=NaN"], "dropout must be a finite number"),
        (["--device", "nonsense"], "unknown device 'nonsense': choose auto, cpu or cuda"),
        (["--device", "meta"], "unknown device 'meta': choose auto, cpu or cuda"),
        (["--device", "mps"], "unknown device 'mps'"),
        (["--device", "cpu:7"], "no device 'cpu:7'"),
        (["--device", "cuda:99"], "device"),
        (["--processes", "-1"], "processes must be at least 1"),
        (["--processes", "2", "--seed", "-1"], SEED),
    ],
)
def test_pretrain(refuse: Refuse, point_data: Dataset, tmp_path: Path, options: list[str], culprit: str) -> None:
    refuse(pretrain(point_data.path, tmp_path / "out", *options), culprit)


@pytest.mark.parametrize(("size", "culprit"), [("window=0", "window"), ("prompt=-1", "prompt"), ("prompt=31", "31")])
def test_pretrain_with_sizes(refuse: Refuse, point_data: Dataset, tmp_path: Path, size: str, culprit: str) -> None:
    command = ["pretrain", "--data", point_data.path, "--out", tmp_path / "out", "--steps", 4, "--set", size]
    refuse(command, culprit)


@pytest.mark.parametrize(
    ("options", "culprit"),
    [
        (["--algorithm", "nonsense"], "unknown algorithm 'nonsense': choose one of sft,"),
        (["--algorithm", "qpsft"], "did you mean qp-sft?"),
        (["--tuning", "nonsense"], "unknown tuning 'nonsense': choose one of "),
        (["--tuning", "adaptor"], "did you mean adapter?"),
        (["--quality", "nonsense"], "unknown quality 'nonsense': choose one of expert, medium"),
        (["--task", "16"], "task 16"),
        (["--task", "-1"], "task -1"),
        (
            ["--algorithm", "sft", "--set", "nonsense=1"],
            "unknown option of algorithm sft 'nonsense': choose one of quantile",
        ),
        (["--set", "nonsense=1"], "'nonsense': choose one of epsilon"),
        (["--set", "epsiln=1"], "'epsiln': did you mean epsilon?"),
        (["--set", "epsilon=high"], "algorithm ppo: epsilon must be of type float, got 'high'"),
        (["--set", "epsilon=true"], "algorithm ppo: epsilon must be of type float, got True"),
        (["--set", "epsilon=NaN"], "algorithm ppo: epsilon must be a finite number, got nan"),
        (["--set", "epsilon=1e999"], "algorithm ppo: epsilon must be a finite number, got inf"),
        (["--set", "trust=1"], "trust must be of type bool, got 1"),
        (["--set", "critic.learning_rate=-1.0"], "critic.learning_rate"),
        (["--set", "nonsense"], "option 'nonsense' is not NAME=VALUE"),
        (["--tuning", "full", "--set-tuning", "nonsense=1"], "tuning full has no options"),
        (["--set-tuning", 'options={"r": NaN}'], "tuning adapter: options.r must be a finite number"),
        (["--set-tuning", "method=NONSENSE"], "unknown PEFT method 'NONSENSE'"),
        (["--set-tuning", 'options={"r": 0}'], "PEFT method LORA does not take these options"),
        (["--set-tuning", 'options={"nonsense": 1}'], "nonsense"),
        (["--target", "bset"], "--target"),
        (["--target", "nan"], "target must be best, mean, expert or a finite number"),
        (["--trajectories", "0"], "trajectories must be a whole number from 1 on, got 0"),
        (["--trajectories", "11"], "11 trajectories"),
        (["--steps", "0"], "steps must be at least 1, got 0"),
        (["--batch", "0"], "batch must be at least 1, got 0"),
        (["--warmup", "-1"], "warmup must not be negative"),
        (["--grad-clip", "nan"], "grad_clip must not be negative"),
        (["--seed", "-1"], SEED),
        (["--learning-rate", "-0.1"], "learning_rate"),
        (["--std", "0"], "std must be a positive number, got 0.0"),
        (["--std", "nan"], "std must be a positive number, got nan"),
        (["--algorithm", "ppo", "--set", "lam=1.5"], "lam must lie in [0, 1], got 1.5"),
        (["--algorithm", "iql", "--set", "largest_weight=0"], "largest_weight must be at least 1, got 0.0"),
        (["--algorithm", "awr", "--set", "temperature=-1"], "temperature must not be negative, got -1.0"),
        (["--algorithm", "cql", "--set", "critic.gamma=2"], "gamma must lie in [0, 1], got 2.0"),
        (["--algorithm", "grpo", "--set", "old_policy_every=0"], "old_policy_every must be at least 1"),
        (["--device", "nonsense"], "unknown device 'nonsense': choose auto, cpu or cuda"),
    ],
)
def test_finetune(
    refuse: Refuse, point_agent_folder: Path, point_data: Dataset, tmp_path: Path, options: list[str], culprit: str
) -> None:
    refuse(finetune(point_agent_folder, point_data.path, tmp_path / "out", *options), culprit)


@pytest.mark.parametrize(
    ("options", "culprit"),
    [
        (["--episodes", "0"], "episodes must be at least 1, got 0"),
        (["--seed", "-1"], SEED),
        (["--task", "16"], "suite point has no task 16"),
        (["--task", "first"], "'first' is neither"),
        (["--suite", "nonsense"], "unknown suite 'nonsense'"),
        (["--suite", "cheetah-vel", "--task", "5"], "prompts of cheetah-vel must come from --data"),
        (["--device", "nonsense"], "unknown device 'nonsense'"),
    ],
)
def test_evaluate(refuse: Refuse, point_agent_folder: Path, options: list[str], culprit: str) -> None:
    refuse(evaluate(point_agent_folder, *options), culprit)


def test_evaluate_with_data(
    refuse: Refuse, point_agent_folder: Path, point_data: Dataset, cheetah_data: Path, delta: Path
) -> None:
    command = evaluate(point_agent_folder, "--task", 5, "--data", point_data.path)
    refuse(command, "50 trajectories")
    refuse([*command, "--trajectories", 0], "trajectories must be a whole number from 1 on, got 0")
    refuse([*command, "--quality", "nonsense"], "unknown quality 'nonsense'")
    refuse(evaluate(point_agent_folder, "--data", cheetah_data), f"{cheetah_data} is of suite cheetah-vel, not point")
    refuse(evaluate(point_agent_folder, "--delta", delta, "--task", 3), f"no prompts of task 3 in {delta}: give --data")
    refuse(evaluate(point_agent_folder, "--quality", "expert"), "--trajectories and --reward are of a dataset")
    refuse(
        evaluate(point_agent_folder, "--suite", "cheetah-dir"),
        "is of suite point: prompts of cheetah-dir must come from --data",
    )


def test_evaluate_an_agent_of_no_suite(refuse: Refuse, tmp_path: Path) -> None:
    sizes = {"observation_dim": 2, "action_dim": 2, "max_timesteps": 30, "layers": 1, "width": 8}
    save_agent(tmp_path, initialise("prompt-dt", sizes, 0), None, {}, {})
    refuse(evaluate(tmp_path), f"{tmp_path} does not say which suite it is of: give --suite")
    refuse(evaluate(tmp_path, "--suite", "point"), f"in {tmp_path}: give --data")


@pytest.mark.parametrize("tuning", ["prompt", "decorator"])
def test_merge_what_is_not_in_the_weights(
    refuse: Refuse, point_agent_folder: Path, point_data: Dataset, tmp_path: Path, tuning: str
) -> None:
    command = finetune(point_agent_folder, point_data.path, tmp_path / "delta", "--tuning", tuning)
    assert run(command) == 0
    why = f"a {tuning} delta cannot be merged: it is not part of the agent's weights"
    refuse(merge(point_agent_folder, tmp_path / "delta", tmp_path / "out"), why, "evaluate --delta")


@pytest.mark.parametrize(
    ("command", "culprit"),
    [
        (["study", "nothing.yaml", "--out", "out"], "there is no study nothing.yaml"),
        (["study", "frist", "--out", "out"], "one that comes with trajtune: figure1"),
        (["study", "study.yaml", "--out", "out", "--workers", "-1"], "workers must be at least 1"),
        (["study", "study.yaml", "--out", "out"], "none is not an agent: it has no agent.json"),
        (["report", "nothing"], "nothing is not a study: it has no study.json"),
        (["report", "nothing", "--baseline", "sft"], "nothing is not a study: it has no study.json"),
    ],
)
def test_study_and_report(
    refuse: Refuse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: list[str], culprit: str
) -> None:
    (tmp_path / "study.yaml").write_text(
        "suites: {point: {agent: none, data: none}}\nsettings: {quality: medium, trajectories: 5}\n"
    )
    monkeypatch.chdir(tmp_path)
    refuse(command, culprit)
