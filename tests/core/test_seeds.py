"Random numbers are a function of (seed, purpose, step); the device is one that exists."

import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from dcacn_nb.core.devices import pick_device, versions
from dcacn_nb.core.seeds import fixed_draws, generator


def draw(*names):
    return torch.randn(3, generator=generator(*names)).tolist()


def test_the_same_names_give_the_same_numbers():
    assert draw(0, 1, 7) == draw(0, 1, 7) != draw(0, 1, 8)
    assert torch.equal(torch.rand(4, generator=generator(1, 0)), torch.rand(4, generator=generator(1, 0)))


def test_streams_do_not_depend_on_the_version():
    "A resumed run of an earlier version must draw what it would have drawn."
    assert draw(0, 1, 7) == [-0.13634449243545532, -0.7932808995246887, 0.20010793209075928]
    assert draw(0, 1, 8) == [-1.4131128787994385, -0.6861425042152405, 1.1942498683929443]


def test_neighbouring_streams_differ_where_a_sum_of_seeds_does_not():
    "The wrong variant, `seed + step`, gives seed 0 at step 1 and seed 1 at step 0 the same numbers."
    naive = lambda seed, step: torch.rand(1, generator=torch.Generator().manual_seed(seed + step)).item()
    ours = lambda seed, step: torch.rand(1, generator=generator(seed, step)).item()
    assert naive(0, 1) == naive(1, 0)
    pairs = [(seed, step) for seed in range(20) for step in range(20)]
    assert len({ours(*pair) for pair in pairs}) == 400
    assert len({naive(*pair) for pair in pairs}) == 39


def test_a_thousand_seeds_give_a_thousand_values():
    "By the birthday rule, 0.03 coinciding pairs are expected among single-precision numbers."
    assert len({torch.rand(1, generator=generator(seed)).item() for seed in range(1000)}) == 1000


@pytest.mark.parametrize(
    "stream, words", [((-1,), "seed must be >= 0, got -1"), ((0, 1, -2), r"stream\[1\] must be >= 0")]
)
def test_negative_streams_are_refused(stream, words):
    with pytest.raises(ValueError, match=words):
        generator(*stream)


def slowly(*names):
    "Two draws of PyTorch's own generator, with time between them for another thread."
    with fixed_draws(*names):
        first = torch.rand(2)
        time.sleep(0.02)
        return torch.cat([first, torch.rand(2)]).tolist()


def test_draws_of_pytorch_s_own_are_fixed_in_threads_too():
    "Threads share its generator: what one draws must not depend on the others, nor what the caller draws next."
    torch.manual_seed(4)
    expected = [slowly(0), slowly(1), slowly(0, 2), slowly(0, 2)]
    assert expected[0] != expected[1] != expected[2] == expected[3]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda names: slowly(*names), [(0,), (1,), (0, 2), (0, 2)])) == expected
    after = torch.rand(1)
    assert after == torch.rand(1, generator=torch.Generator().manual_seed(4))
    with fixed_draws(0), fixed_draws(1):  # one inside the other
        pass


def test_devices_that_do_not_exist_are_refused():
    with pytest.raises(ValueError, match="device must be 'auto', 'cpu', 'cuda', 'cuda:N' or 'mps', got 'gpu'"):
        pick_device("gpu")
    with pytest.raises(ValueError, match="use 'auto' or 'cpu'"):
        pick_device("xpu")
    assert pick_device("cpu") == torch.device("cpu") and pick_device(torch.device("cpu")).type == "cpu"
    assert pick_device("auto").type in ("cpu", "cuda", "mps")


def test_versions_are_texts():
    found = versions()
    assert found["torch"] == torch.__version__ and found["threads"] == str(torch.get_num_threads())
    assert all(isinstance(value, str) for value in found.values())
