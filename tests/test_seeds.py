"""Named streams: the same name the same bits, on any machine; another name other bits."""

import subprocess
import sys

import numpy as np
import pytest

from trajtune.seeds import LIMIT, number, stream, torch_stream

NAMES = [
    (0,),
    (0, "few-shot", 5),
    (0, "prompts", 5),
    (0, "few-shot", "5"),
    (0, "few-shot", 5, 0),
    (0, "few-shot", 51),
    (0, "few-shot5"),
    (0, 5, "few-shot"),
    (5, "few-shot", 0),
    (0, 'few-shot", 5'),
    (-1, "few-shot", 5),
    (LIMIT - 1, "few-shot", 5),
    (2**70, "few-shot", 5),
]


def test_the_bits_of_a_name_are_these() -> None:
    """SHA-256 of the JSON of the name; whoever changes this changes every result."""
    assert stream(0, "few-shot", 5).integers(0, 2**32, 3).tolist() == [2350966940, 537963645, 2352799394]
    assert number(0, "few-shot", 5) == 7247974754226468780


def test_every_name_is_a_stream_of_its_own() -> None:
    bits = {tuple(stream(*name).integers(0, 2**63, 4).tolist()) for name in NAMES}
    assert len(bits) == len({number(*name) for name in NAMES}) == len(NAMES)
    singles = [value for each in bits for value in each]
    assert len(set(singles)) == len(singles)


def test_a_stream_starts_anew_every_time() -> None:
    first = stream(3, "windows")
    first.random(100)
    np.testing.assert_array_equal(stream(3, "windows").random(5), stream(3, "windows").random(5))


@pytest.mark.parametrize("one", [1, True, np.int64(1), np.uint8(1)])
def test_numbers_that_are_equal_are_one_name(one: int) -> None:
    assert number(one, "a", one) == number(1, "a", 1)


@pytest.mark.parametrize("odd", [1.0, 0.5, None, [1], np.float32(1)])
def test_what_is_neither_word_nor_whole_number_is_no_name(odd: object) -> None:
    with pytest.raises(TypeError):
        number(0, odd)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        number(odd, "a")  # type: ignore[arg-type]


def test_numbers_are_seeds_for_others() -> None:
    found = [number(seed, "env") for seed in range(200)]
    assert all(0 <= value < 2**63 for value in found) and max(found) > 2**62 and min(found) < 2**61


def test_pytorch_draws_from_a_stream_of_its_own() -> None:
    import torch

    before = torch.get_rng_state()
    first, again, other = (torch.rand(4, generator=torch_stream(*n)) for n in ((0, "a"), (0, "a"), (0, "b")))
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert torch.equal(torch.get_rng_state(), before)  # nothing is drawn from what belongs to all


def test_neither_pythons_hash_nor_pytorch_is_needed() -> None:
    code = "import sys; from trajtune.seeds import number; print(number(0, 'a', 1)); assert 'torch' not in sys.modules"
    for seed in ("1", "2"):
        result = subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": "."},
        )
        assert result.stdout == f"{number(0, 'a', 1)}\n", result.stderr
