"""Windows over an image of any size answer as one look at the whole, of a network that sees single cells."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from hounsfield.core.plan import Grid, Plan
from hounsfield.steps.regions.tiles import tiles_along
from hounsfield.steps.regions.windows import answer_of, tensor_of

Three = tuple[int, int, int]


class Pointwise(nn.Module):
    """Two answers of each cell of `stride` voxels, from its own voxels; it keeps the shapes that it sees."""

    def __init__(self, stride: Three = (1, 1, 1)) -> None:
        super().__init__()
        self.stride, self.seen = stride, list[tuple[int, ...]]()

    def forward(self, x: Tensor) -> Tensor:
        self.seen.append(tuple(x.shape[2:]))
        pool = functional.avg_pool3d if x.ndim == 5 else functional.avg_pool2d
        mean = pool(x, self.stride[5 - x.ndim :])
        return torch.cat([mean.sum(1, keepdim=True).sin(), mean[:, :1] * 2 + 1], 1)


def _plan(patch: Three, *, overlap: float = 0.5, mirror: tuple[int, ...] = ()) -> Plan:
    return Plan(task="segmentation", grid=Grid(patch=patch, window=patch, overlap=overlap, mirror=mirror))


def _answer(
    net: nn.Module, image: Tensor, plan: Plan, *, divisor: Three = (1, 1, 1), stride: Three = (1, 1, 1)
) -> Tensor:
    return answer_of([net], image, plan, divisor=divisor, stride=stride, finish=lambda a: a)


def _direct(image: Tensor, stride: Three = (1, 1, 1)) -> Tensor:
    """The answer of the whole image, its last cells filled up with the edge."""
    pads = list(
        itertools.chain(*[(0, -n % s) for n, s in zip(image.shape[:0:-1], stride[::-1], strict=True)])
    )
    whole = functional.pad(image[None], pads, mode="replicate")
    found: Tensor = Pointwise(stride)(whole)[0]
    return found


SIZES = [(7, 9, 33), (8, 16, 16), (3, 5, 4), (9, 16, 17), (20, 31, 8), (1, 1, 1)]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("overlap", [0.0, 0.25, 0.5, 0.75])
def test_windows_over_a_volume_answer_as_the_whole(size: Three, overlap: float) -> None:
    image = torch.randn(2, *size)
    found = _answer(Pointwise(), image, _plan((8, 16, 16), overlap=overlap), divisor=(2, 4, 4))
    assert torch.allclose(found, _direct(image), atol=1e-5)


@pytest.mark.parametrize("size", [(33, 47), (16, 16), (5, 70), (17, 3)])
def test_windows_over_a_picture_answer_as_the_whole(size: tuple[int, int]) -> None:
    image = torch.randn(2, 1, *size)
    found = _answer(Pointwise(), image, _plan((1, 16, 24), mirror=(1, 2)), divisor=(1, 8, 8))
    assert torch.allclose(found, _direct(image), atol=1e-5)


def test_a_picture_network_goes_over_the_slices_of_a_volume() -> None:
    image = torch.randn(1, 5, 20, 18)
    net = Pointwise()
    assert torch.allclose(_answer(net, image, _plan((1, 16, 16))), _direct(image), atol=1e-5)
    assert all(len(shape) == 2 for shape in net.seen)


@pytest.mark.parametrize("stride", [(4, 4, 4), (1, 4, 4), (2, 4, 8)])
@pytest.mark.parametrize("size", [*SIZES, (18, 50, 35), (10, 6, 27), (16, 18, 14)])
def test_cells_of_several_voxels_lie_where_the_whole_puts_them(size: Three, stride: Three) -> None:
    image = torch.randn(1, *size)
    found = _answer(Pointwise(stride), image, _plan((8, 16, 16)), divisor=(8, 16, 16), stride=stride)
    expected = _direct(image, stride)
    assert found.shape == expected.shape
    whole = tuple(slice(0, n // s) for n, s in zip(size, stride, strict=True))  # cells without padding
    assert torch.allclose(found[(slice(None), *whole)], expected[(slice(None), *whole)], atol=1e-5)


def test_windows_are_divisible_and_no_larger_than_needed() -> None:
    for size in SIZES:
        net = Pointwise()
        _answer(net, torch.randn(2, *size), _plan((8, 16, 16)), divisor=(4, 8, 8))
        for shape in net.seen:
            assert all(n % d == 0 for n, d in zip(shape, (4, 8, 8), strict=True))
            assert all(
                n <= min(w, -(-s // d) * d)
                for n, w, s, d in zip(shape, (8, 16, 16), size, (4, 8, 8), strict=True)
            )


@pytest.mark.parametrize("divisor, cell", [(1, 1), (4, 1), (4, 4), (8, 2)])
def test_tiles_cover_an_axis_and_share_what_is_asked(divisor: int, cell: int) -> None:
    for n, most, overlap in itertools.product(range(1, 60), (8, 16, 24), (0.0, 0.1, 0.25, 0.5, 0.9)):
        length = -(-n // cell) * cell
        for least in (1, most // 2):
            tiles = tiles_along(length, most, overlap=overlap, divisor=divisor, least=least, cell=cell)
            ends = [start + size for start, size in tiles]
            assert tiles[0][0] == 0 and all(s % divisor == 0 and s <= most for _, s in tiles)
            if len(tiles) == 1:
                assert length <= most and 0 <= ends[0] - length < divisor
                continue
            assert ends[-1] == length and all(start % cell == 0 for start, _ in tiles)
            assert all(size >= min(most, least) for _, size in tiles)
            shared = [end - start for end, (start, _) in zip(ends, tiles[1:], strict=False)]
            assert min(shared) >= min(most - 1, overlap * most) - cell


def test_tiles_are_no_longer_than_needed() -> None:
    for length in range(130, 600, 7):
        tiles = tiles_along(length, 128, overlap=0.0625, divisor=16)
        assert sum(size for _, size in tiles) < length + 8 * (len(tiles) - 1) + 16
        assert len(tiles) == -(-(length - 8) // 120)


class Leaning(nn.Module):
    """Answers that depend on the place in the window: 1 in its left half."""

    def forward(self, x: Tensor) -> Tensor:
        left = torch.arange(x.shape[-1]) < x.shape[-1] / 2
        return left.float().expand(x.shape[0], 1, *x.shape[2:]).clone()


def test_the_middle_of_a_window_weighs_more_than_its_edges() -> None:
    found = _answer(Leaning(), torch.zeros(1, 1, 16, 24), _plan((1, 16, 16)))[0, 0, 8]
    weight = np.exp(-0.5 * ((np.arange(16) - 7.5) / 2.0) ** 2).clip(1e-3 / np.exp(-0.5 * (0.5 / 2) ** 2))
    first, second = (np.concatenate(x) for x in (([*weight], [0.0] * 8), ([0.0] * 8, [*weight])))
    left = np.concatenate([np.ones(8), np.zeros(16)]), np.concatenate([np.zeros(8), np.ones(8), np.zeros(8)])
    expected = (first * left[0] + second * left[1]) / (first + second)
    assert np.allclose(found.numpy(), expected, atol=5e-3)
    assert (found[:8] == 1).all() and (found[16:] == 0).all()


def test_mirrored_looks_are_turned_back_and_averaged() -> None:
    image = torch.zeros(1, 1, 16, 16)
    assert torch.allclose(
        _answer(Leaning(), image, _plan((1, 16, 16), mirror=(2,))), torch.full((1, 1, 16, 16), 0.5)
    )
    once = _answer(Leaning(), image, _plan((1, 16, 16), mirror=(1,)))  # rows do not matter to it
    assert torch.equal(once[0, 0, 0], torch.cat([torch.ones(8), torch.zeros(8)]))
    told = []
    answer_of(
        [Leaning()], torch.zeros(1, 8, 16, 16), _plan((8, 16, 16), mirror=(0, 2)), divisor=(1, 1, 1),
        finish=lambda a: a, mirrored=lambda found, axes: told.append(axes) or found,  # type: ignore[func-returns-value]
    )  # fmt: skip
    assert sorted(told) == [(0,), (0, 2), (2,)]


def test_members_are_averaged_after_they_are_finished() -> None:
    class Says(nn.Module):
        def __init__(self, value: float) -> None:
            super().__init__()
            self.value = value

        def forward(self, x: Tensor) -> Tensor:
            return torch.full_like(x, self.value)

    found = answer_of(
        [Says(-2.0), Says(3.0)],
        torch.zeros(1, 1, 8, 20),
        _plan((1, 8, 8)),
        divisor=(1, 1, 1),
        finish=torch.sigmoid,
    )
    expected = float(torch.tensor([-2.0, 3.0]).sigmoid().mean())
    assert torch.allclose(found, torch.full((1, 1, 8, 20), expected), atol=1e-6)


def test_stored_numbers_are_normalised_and_clipped() -> None:
    data = np.random.default_rng(0).integers(-500, 500, (2, 3, 4, 5)).astype(np.int16)
    levels = ((0.01, -1.0, -2.0, 3.0), (1.0, 0.0, 0.0, 100.0))
    found = tensor_of(data, levels, torch.device("cpu")).numpy()
    assert np.allclose(found[0], np.clip(data[0] * 0.01 - 1, -2, 3), atol=1e-5)
    assert np.array_equal(found[1], np.clip(data[1], 0, 100))
