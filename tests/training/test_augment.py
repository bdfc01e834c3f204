"""Augmentation: what it may and may not change."""

from dataclasses import replace

import pytest

torch = pytest.importorskip("torch", reason="training needs the extra 'train' (torch)")

from torch.nn import functional  # noqa: E402

from training.augment import augment, branch_factors  # noqa: E402

PLAIN = {"shift_pixels": 0, "flip": 0.0, "erase": 0.0, "mixup": 0.0, "cutmix": 0.0}


@pytest.fixture
def batch():
    rng = torch.Generator().manual_seed(3)
    return torch.randn(64, 12, 12, generator=rng), torch.arange(64) % 10


def run(recipe, batch, **changes):
    rng = torch.Generator().manual_seed(5)
    return augment(*batch, replace(recipe, **(PLAIN | changes)), rng)


def test_nothing_asked_changes_nothing(recipe, batch):
    images, targets = run(recipe, batch)
    assert images.equal(batch[0])
    assert targets.equal(functional.one_hot(batch[1], 10).float())


def test_flip_mirrors_left_and_right(recipe, batch):
    assert run(recipe, batch, flip=1.0)[0].equal(batch[0].flip(-1))


def test_shift_moves_whole_images_and_fills_with_black(recipe, batch):
    images, _ = run(recipe, batch, shift_pixels=1)
    black = -recipe.mean / recipe.std
    padded = functional.pad(batch[0], (1, 1, 1, 1), value=black)
    seen = set()
    for image, source in zip(images, padded, strict=True):
        moves = [
            (y, x)
            for y in range(3)
            for x in range(3)
            if image.equal(source[y : y + 12, x : x + 12])
        ]
        seen.update(moves)
        assert len(moves) == 1
    assert len(seen) == 9


def test_erase_blanks_one_square(recipe, batch):
    images, _ = run(recipe, batch, erase=1.0)
    for erased in (images != batch[0]).long():
        rows, columns = erased.amax(1), erased.amax(0)
        assert rows.sum() > 0
        assert erased.equal(rows[:, None] * columns[None, :])


@pytest.mark.parametrize("kind", ["mixup", "cutmix"])
def test_mixing_keeps_the_image_the_larger_part(recipe, batch, kind):
    images, targets = run(recipe, batch, **{kind: 1.0})
    torch.testing.assert_close(targets.sum(1), torch.ones(64))
    own = targets[torch.arange(64), batch[1]]
    # A cutmix box is rounded to pixels, so its share may pass one half by a row and a column.
    assert own.min() > 0.4
    assert (images != batch[0]).any((1, 2)).float().mean() > 0.9


def test_cutmix_share_is_that_of_the_pixels(recipe):
    flat = torch.arange(64.0)[:, None, None].expand(64, 12, 12)
    images, targets = run(recipe, (flat, torch.arange(64) % 10), cutmix=1.0)
    for i, image in enumerate(images):
        kept = (image == i).float().mean()
        partner = image[image != i]
        if len(partner) and int(partner[0]) % 10 != i % 10:
            torch.testing.assert_close(targets[i, i % 10], kept)


def test_branch_factors_keep_the_mean(recipe):
    rng = torch.Generator().manual_seed(5)
    factors = branch_factors(recipe, 20_000, rng)
    assert factors.shape == (4, 20_000, 1, 1)
    assert (factors[:2] == 1).all()
    assert factors[2:].unique().tolist() == [0.0, 1.25]
    torch.testing.assert_close(factors.mean((1, 2, 3)), torch.ones(4), atol=0.02, rtol=0)
