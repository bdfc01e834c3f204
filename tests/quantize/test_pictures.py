"""Pictures for calibration: resampling as PIL does it, photos, random ones."""

import numpy as np
import pytest

from quantize import QuantizeError
from quantize.architectures import architecture
from quantize.pictures import PHOTOS, photos, random_pictures
from quantize.resample import resampled
from tests.random_models import SMALL

COLOUR = architecture("deit_tiny_patch16_224", 32).config


@pytest.mark.parametrize("size", [3, 20, 24, 50])
def test_resampling_is_that_of_pil(size):
    image = pytest.importorskip("PIL.Image")
    rng = np.random.default_rng(0)
    grid = rng.normal(0, 1, (24, 24)).astype(np.float32)
    true = np.asarray(image.fromarray(grid).resize((size, size), image.Resampling.BICUBIC))
    assert resampled(grid[..., None], size)[..., 0] == pytest.approx(true, abs=1e-5)


def test_random_pictures():
    pictures = random_pictures(COLOUR, 3, seed=4)
    assert (pictures.shape, pictures.dtype) == ((3, 3, 32, 32), np.uint8)
    assert (random_pictures(COLOUR, 2, seed=4) == pictures[:2]).all()
    assert pictures.std() > 40
    assert random_pictures(SMALL, 1).shape == (1, 1, 12, 12)


def test_photos():
    pytest.importorskip("skimage")
    for split, names in PHOTOS.items():
        pictures = photos(COLOUR, len(names) + 1, split)
        assert pictures.shape == (len(names) + 1, 3, 32, 32)
        assert (pictures.std(axis=(1, 2, 3)) > 5).all()
        assert (pictures[0] != pictures[-1]).any()
    assert photos(SMALL, 2).shape == (2, 1, 12, 12)
    with pytest.raises(QuantizeError, match="there are 40 photos in train, not 41"):
        photos(COLOUR, 41)
    assert not set(PHOTOS["train"]) & set(PHOTOS["test"])


def test_without_scikit_image(monkeypatch):
    monkeypatch.setattr("quantize.pictures.find_spec", lambda name: None)
    with pytest.raises(QuantizeError, match=r"pip install -e '\.\[photos\]'"):
        photos(COLOUR, 1)
