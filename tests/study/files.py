"""Files of studies."""

from pathlib import Path

import pytest

from trajtune.errors import UserError
from trajtune.study.reading import load_study


def written(folder: Path, text: str, name: str = "study.yaml") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def refused(folder: Path, text: str, old: str, new: str, message: str) -> str:
    """What is said of a study's file in which one thing was changed: one line that names the file, and the message."""
    assert old in text
    with pytest.raises(UserError) as error:
        load_study(written(folder, text.replace(old, new)))
    said = str(error.value)
    assert message in said
    assert "\n" not in said
    assert "study.yaml" in said
    return said
