"""Calibration of models with the outliers of large ones, and the report that shows the losses."""

import numpy as np
import pytest

from quantize import calibrate, float_model_of, quantize_model
from quantize.calibrate import MAX_OCTAVES
from quantize.report import BLOCK_TENSORS, LARGEST_DB, quality
from tests import outliers
from tests.random_models import CONFIGS, SMALL, random_float, random_images, random_model


def test_outliers_of_large_models_survive():
    original, images = outliers.outlier_model(), outliers.outlier_images(16)
    raw, centred = outliers.logit_octaves(original, images)
    assert max(raw) > outliers.RAW_OCTAVES > MAX_OCTAVES
    assert outliers.CENTRED_OCTAVES < max(centred) < MAX_OCTAVES
    assert outliers.residual_sigmas(original, images) > 0.9 * outliers.SIGMAS
    found = quality(quantize_model(original, images), outliers.outlier_images(8, seed=1))
    assert found.token_cosines.shape == (8, outliers.CONFIG.tokens)
    assert found.token_cosines.mean() >= 0.995
    assert found.token_cosines[:, 0].min() >= 0.999
    assert all(tensor.saturated == 0 for tensor in found.tensors)


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_every_tensor_is_compared(config):
    found = quality(random_model(config, outliers=False), random_images(config, 4, seed=7))
    blocks = [f"blocks.{n}.{kind}" for n in range(config.depth) for kind in BLOCK_TENSORS]
    assert [t.name for t in found.tensors] == ["patch_embed", *blocks, "norm", "head"]
    assert min(t.sqnr_db for t in found.tensors) > 20
    assert found.token_cosines.min() > 0.99
    assert len(found.residual) == 2 * config.depth + 1
    assert found.as_json()["images"] == 4


def test_the_report_finds_the_layer_that_was_spoilt():
    model = random_model(SMALL, outliers=False)
    spoilt = dict(model.tensors)
    name = "blocks.1.mlp.fc2"
    spoilt[f"{name}.weight"] = np.roll(spoilt[f"{name}.weight"], 1, axis=0)
    bad = type(model)(
        config=model.config,
        tensors=spoilt,
        scales=model.scales,
        provenance=model.provenance,
    )
    found = quality(bad, random_images(SMALL, 4, seed=7))
    assert found.largest_loss[0] == name
    first = found.loses_first()
    assert first is not None
    assert first.name == name
    assert quality(model, random_images(SMALL, 1)).loses_first(-LARGEST_DB) is None


def test_clipped_residuals_are_counted():
    model = quantize_model(random_float(SMALL, outliers=False), random_images(SMALL, 8))
    position = model["embed.position"].copy()
    position[0, 5] = 32767
    changed = type(model)(
        config=model.config,
        tensors={**model.tensors, "embed.position": position},
        scales=model.scales,
        provenance=model.provenance,
    )
    found = quality(changed, random_images(SMALL, 2), reference=float_model_of(model))
    assert found.as_json()["saturated"]["patch_embed"] == 2


def test_chunks_of_calibration_do_not_matter(monkeypatch):
    original, images = random_float(SMALL), random_images(SMALL, 6)
    whole = quantize_model(original, images)
    monkeypatch.setattr(calibrate, "CHUNK_ELEMENTS", 1)
    single = quantize_model(original, images)
    assert all((whole[name] == single[name]).all() for name in whole.tensors)


def test_inputs_beyond_gelus_range_are_told():
    original = random_float(SMALL, outliers=False)
    parameters = dict(original.parameters)
    parameters["blocks.1.mlp.fc1.bias"] = parameters["blocks.1.mlp.fc1.bias"] + np.float32(40)
    told = []
    model = type(original)(
        config=SMALL, parameters=parameters, mean=original.mean, std=original.std
    )
    quantize_model(model, random_images(SMALL, 4), tell=told.append)
    assert told == [text for text in told if text.startswith("blocks.1.mlp.fc1: GELU inputs reach")]
    assert len(told) == 1
