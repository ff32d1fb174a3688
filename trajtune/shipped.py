"""What comes with the package: agents and data that the demo and a first study need, and studies by name."""

from importlib.resources import files
from pathlib import Path

from trajtune.errors import UserError

EXAMPLE = "cheetah-vel"
"""The suite whose agent and data are at hand wherever trajtune is: what the demo shows."""
ASSET = "asset:"
"""``asset:cheetah-vel/agent`` stands for a folder that comes with the package, wherever it is installed."""


def asset(name: str) -> Path:
    """Return the folder of something that comes with the package."""
    path = Path(str(files("trajtune").joinpath("assets", name)))
    if not path.exists():
        raise UserError(f"the asset {name} is missing from this installation")
    return path


def shipped(path: str) -> Path:
    """Return the path that ``asset:NAME`` stands for; any other is itself."""
    return asset(path.removeprefix(ASSET)) if path.startswith(ASSET) else Path(path)


def presets() -> dict[str, str]:
    """Return the studies that come with the package, and what each says of itself in its first line."""
    folder = Path(str(files("trajtune").joinpath("study", "presets")))
    return {
        path.stem: path.read_text(encoding="utf-8").splitlines()[0].lstrip("# ")
        for path in sorted(folder.glob("*.yaml"))
    }


def preset(name: str) -> Path:
    """Return the file of a study that comes with the package."""
    return Path(str(files("trajtune").joinpath("study", "presets", f"{name}.yaml")))
