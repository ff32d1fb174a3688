"""The harness itself: what it finds in Markdown, and what it makes of it."""

from pathlib import Path

import pytest

from tests.documents import running
from tests.documents.blocks import parse, stories
from tests.documents.replacements import BUDGETS, NEVER, OUTSIDE, SETUPS
from tests.documents.running import DocumentError, budgeted, commands, run_story

TEXT = """# Title

    trajtune suites    # what there is
    trajtune inspect x

Prose.

```python
import trajtune
```

- an item

    that goes on, which is no code

    nor is this

<!-- test: setup point -->

<!-- test: skip because it takes a day -->

    trajtune collect \\
      ant-dir --out data

<!-- test: file studies/a.yaml -->
```yaml
steps: 300
```
"""


def test_finds_blocks_with_language_and_place() -> None:
    blocks = parse(TEXT, "a.md")
    assert [(block.place, block.language) for block in blocks] == [
        ("a.md:3", "shell"),
        ("a.md:9", "python"),
        ("a.md:22", "shell"),
        ("a.md:27", "yaml"),
    ]
    assert blocks[0].text == "trajtune suites    # what there is\ntrajtune inspect x"


def test_marks_apply_to_the_next_block_alone() -> None:
    blocks = parse(TEXT, "a.md")
    assert [block.skip for block in blocks] == [None, None, "it takes a day", None]
    assert [block.setup for block in blocks] == [None, None, "point", None]
    assert blocks[3].path == "studies/a.yaml"


def test_output_is_text() -> None:
    assert [block.language for block in parse("Out:\n\n    mean   0.31   [0.2, 0.4]\n")] == ["text"]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("<!-- test: skip -->\n\n    trajtune suites\n", "text:1: unknown mark 'skip'"),
        ("<!-- test: skp because -->\n\n    trajtune suites\n", "unknown mark"),
        ("<!-- test: text -->\n\nProse.\n", "text:1: the mark stands before no block"),
        ("<!-- test: text -->\n", "the mark stands before no block"),
        ("```\nx\n", "text:1: the fence never closes"),
        ("\n    trajtune suites\n    there are three\n", "text:2: commands among other lines"),
    ],
)
def test_wrong_marks_are_errors(text: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        parse(text)


def test_stories_begin_at_setups() -> None:
    found = stories(parse(TEXT, "a.md"))
    assert [(story.name, story.setup, len(story.blocks)) for story in found] == [
        ("a.md:3-empty", "empty", 2),
        ("a.md:22-point", "point", 2),
    ]


def test_shell_lines_become_commands() -> None:
    assert commands("make experts && source x   # why\nA=1 trajtune a --b 'c d' \\\n  --e=f; trajtune g\n") == [
        ["make", "experts"],
        ["source", "x"],
        ["trajtune", "a", "--b", "c d", "--e=f"],
        ["trajtune", "g"],
    ]


@pytest.mark.parametrize("line", ["trajtune a | head", "trajtune a > b", "trajtune a || trajtune b"])
def test_pipes_are_refused(line: str) -> None:
    with pytest.raises(DocumentError, match="not understood"):
        commands(line)


def test_budgets_replace_and_add(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(BUDGETS, "finetune", {"--steps": "2", "--batch": "4"})
    assert " ".join(budgeted(["finetune", "--steps", "300", "--out", "a"])) == "finetune --steps 2 --out a --batch 4"
    assert " ".join(budgeted(["finetune", "--batch=64", "--out", "a"])) == "finetune --batch 4 --out a --steps 2"
    assert budgeted(["finetune", "--help"]) == ["finetune", "--help"]
    assert budgeted(["suites"]) == ["suites"]


def test_story_shares_folder_and_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    called = []
    monkeypatch.setattr(running, "call", lambda words: (called.append((words, Path.cwd())), (0, "", ""))[1])
    text = """
```python
import math
steps = dict(steps=300)["steps"]
```

    trajtune suites

<!-- test: file a/b.yaml -->
```yaml
steps: 300
```

```python
import pathlib
assert steps == 2 and "steps: 2" in pathlib.Path("a/b.yaml").read_text()
```
"""
    (story,) = stories(parse(text))
    run_story(story, tmp_path / "story", {})
    assert called == [(["suites"], tmp_path / "story")]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("```python\nimport math\n\nmath.nothing\n```\n", "text:4: AttributeError"),
        ("    trajtune suites\n", "text:1: trajtune suites ended with 2: trajtune: no"),
        ("    make coffee\n", "make coffee is no target"),
        ("    python nowhere.py\n", "nowhere.py does not exist"),
    ],
)
def test_failures_name_the_place(text: str, complaint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "call", lambda words: (2, "", "trajtune: no"))
    (story,) = stories(parse(text))
    with pytest.raises(DocumentError, match=complaint):
        run_story(story, tmp_path / "story", {})


def test_unknown_setup_lists_the_choices(tmp_path: Path) -> None:
    (story,) = stories(parse("<!-- test: setup moon -->\n\n    trajtune suites\n"))
    with pytest.raises(DocumentError, match="no setup moon; there are empty"):
        run_story(story, tmp_path / "story", {})


def test_every_exception_has_a_reason() -> None:
    assert all({**NEVER, **OUTSIDE}.values())
    assert "empty" in SETUPS
