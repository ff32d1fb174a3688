"""The examples installed as anybody would install them, into a folder of their own."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from trajtune.agents import AGENTS
from trajtune.algorithms import ALGORITHMS
from trajtune.data.formats import FORMATS
from trajtune.suites import SUITES
from trajtune.tunings import TUNINGS

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples" / "extending"
REGISTRIES = (AGENTS, ALGORITHMS, FORMATS, SUITES, TUNINGS)

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the five packages are installed in, without a network. They are built from copies."""
    folder: Path = tmp_path_factory.mktemp("extending")
    packages = sorted(path.parent for path in EXAMPLES.glob("*/pyproject.toml"))
    assert len(packages) == 5
    for package in packages:
        shutil.copytree(package, folder / package.name)
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-index"]
    install += ["--no-deps", "--no-build-isolation", "--target", str(folder / "site")]
    done = subprocess.run([*install, *(str(folder / p.name) for p in packages)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder / "site"


@pytest.fixture(scope="session")
def python(site: Path) -> Run:
    """Run Python with the packages installed, and perhaps more of them."""

    def run(*arguments: str, more: Path | None = None) -> "subprocess.CompletedProcess[str]":
        folders = [str(site), *([] if more is None else [str(more)]), str(ROOT)]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(folders), "OMP_NUM_THREADS": "1"}
        return subprocess.run(
            [sys.executable, *arguments], capture_output=True, text=True, cwd=ROOT, env=environment, timeout=1200
        )

    return run


@pytest.fixture
def plugins(site: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """In this process, too, the packages are installed while a test runs."""
    monkeypatch.syspath_prepend(str(site))
    for registry in REGISTRIES:
        monkeypatch.setattr(registry, "_found", None)
        monkeypatch.setattr(registry, "broken", {})
    yield
    for name in [name for name in sys.modules if name.startswith("trajtune_")]:
        del sys.modules[name]
