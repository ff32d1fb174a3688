"""House rules: layers import one way, imports load nothing heavy, and no file names a package registry."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
HEAVY = ("torch", "mujoco", "gymnasium", "matplotlib", "peft", "transformers")

# Written in pieces, so that this file passes its own test.
REGISTRIES = (
    "pypi" + ".org",
    "python" + "hosted.org",
    "download." + "pytorch.org",
    "anaconda" + ".org",
    "pypi" + ".python.org",
)
REGISTRY = re.compile(
    "|".join([*map(re.escape, REGISTRIES), "--(?:extra-)?index" + "-url", "--find" + "-links"]), re.IGNORECASE
)


def run_python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120)


def files_of_the_project() -> list[Path]:
    """Tracked files, and new ones that git does not ignore."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        names = subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout.decode()
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("not a git checkout")
    return [path for name in names.split("\0") if name and (path := ROOT / name).is_file()]


def test_layers_import_one_way() -> None:
    code = "from importlinter.cli import lint_imports; raise SystemExit(lint_imports(no_cache=True, no_logo=True))"
    result = run_python(code)
    assert result.returncode == 0, result.stdout + result.stderr


def test_every_package_has_an_init() -> None:
    """The import contract does not see folders without one."""
    folders = {path.parent for path in (ROOT / "trajtune").rglob("*.py")}
    assert [str(folder.relative_to(ROOT)) for folder in folders if not (folder / "__init__.py").is_file()] == []


@pytest.mark.parametrize(
    "statement", ["import trajtune", "from trajtune.cli import main", "import trajtune.report, trajtune.study.results"]
)
def test_import_loads_nothing_heavy(statement: str) -> None:
    result = run_python(f"import sys; {statement}; print(*(m for m in {HEAVY} if m in sys.modules))")
    assert result.returncode == 0, result.stderr
    assert result.stdout.split() == []


def test_no_file_names_a_package_registry() -> None:
    found = []
    for path in files_of_the_project():
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except UnicodeDecodeError:
            continue  # not a text file
        found += [f"{path.relative_to(ROOT)}:{n}" for n, line in enumerate(lines, 1) if REGISTRY.search(line)]
    assert found == []
