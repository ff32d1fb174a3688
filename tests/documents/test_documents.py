"""README and guide are run: every block that is not marked otherwise, in the order of the document (see blocks.py)."""

from pathlib import Path

import pytest

from tests.documents.blocks import Story, read_blocks, stories
from tests.documents.running import ROOT, run_story

DOCUMENTS = ("README.md", "docs/guide.md")
STORIES = [story for name in DOCUMENTS for story in stories(read_blocks(ROOT / name, ROOT))]
WITH_WORK = [
    story for story in STORIES if any(block.skip is None and block.language != "text" for block in story.blocks)
]


@pytest.fixture(scope="module")
def made() -> dict[str, Path]:
    """Folders that setups have prepared."""
    return {}


@pytest.fixture(scope="module")
def folder_of_stories(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("documents")


@pytest.mark.slow
@pytest.mark.parametrize("story", WITH_WORK, ids=lambda story: story.name)
def test_story_runs(story: Story, folder_of_stories: Path, made: dict[str, Path]) -> None:
    folder = folder_of_stories / story.name.replace("/", "-").replace(":", "-")
    run_story(story, folder, made)
