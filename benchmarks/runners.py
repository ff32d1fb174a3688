"""What a runner adds to a run, beside doing the runs in this process: ``python benchmarks/runners.py``.

The same small study (the shipped agent, one update, one episode, and both zero-shots) at two sizes, one worker of one
thread each: the difference of the two, divided by the runs between them, is a run; what is left over is the start.
"""

import contextlib
import json
import os
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from trajtune.data.setting import Setting
from trajtune.study.declaration import Method, Source, Study
from trajtune.study.runners import run_study
from trajtune.training.config import TrainConfig

SEEDS = (5, 25)
STUDY = Study(
    {"cheetah-vel": Source(Path("asset:cheetah-vel/agent"), Path("asset:cheetah-vel/data"))},
    (Setting("medium", 5),),
    (Method(("sft",), ("full",)),),
    tasks="test:1",
    episodes=1,
    points=0,
    training=TrainConfig(steps=1, batch=1, warmup=0, precision="fp32"),
)
RUNNERS: dict[str, tuple[int, str, dict[str, Any]]] = {
    "in this process": (0, "local", {}),
    "local": (1, "local", {}),
    "ray": (1, "ray", {}),
    "slurm (submitit's local executor)": (1, "slurm", {"cluster": "local", "minutes": 30, "memory_gb": 1}),
}


def main() -> None:
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    told: dict[str, dict[str, float]] = {}
    for name, (workers, on, options) in RUNNERS.items():
        took = []
        for count in SEEDS:
            study = replace(STUDY, seeds=tuple(range(count)))
            with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(sys.stderr):
                began = time.perf_counter()
                run_study(study, Path(folder) / "out", workers, on=on, options=options)
                took.append(time.perf_counter() - began)
        runs = [3 * count for count in SEEDS]
        each = (took[1] - took[0]) / (runs[1] - runs[0])
        told[name] = {"a run, s": round(each, 3), "start, s": round(took[0] - each * runs[0], 1)}
        own = told["in this process"]["a run, s"]
        told[name]["overhead a run, s"] = round(each - own, 3)
        print(f"{name:36}", "  ".join(f"{what} {value:7.3f}" for what, value in told[name].items()), flush=True)
    print(json.dumps(told))


if __name__ == "__main__":
    main()
