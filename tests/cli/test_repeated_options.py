"""Options that may be given several times keep every one of them."""

from trajtune.cli import _parse


def test_set_and_set_tuning_add_up() -> None:
    words = "finetune --agent a --data d --task 1 --out o --set alpha=0.5 --set gamma=0.9 --set-tuning method=IA3"
    command = _parse(words.split())
    assert command.set == ["alpha=0.5", "gamma=0.9"] and command.set_tuning == ["method=IA3"]
