"""`sievit import`, from a foreign file to an integer model, and what it refuses."""

import json
from dataclasses import replace

import jsonschema
import numpy as np
import pytest

from quantize import architectures, float_forward, load_float
from quantize.importers import import_file
from quantize.importers.settings import Settings
from spec import model_file
from spec.model_file import write_tensors
from spec.reports import RUN
from tests.quantize.foreign import CONFIG, hugging_face_state, timm_state
from tests.random_models import random_images

NUMBERS = ("--heads", 3, "--mean", "0.5", "--std", "0.2,0.3,0.25")
TINY = architectures.Architecture(embed_dim=64, patch_size=8, depth=1, image_size=16, classes=3)


@pytest.fixture
def weights(tmp_path):
    path = tmp_path / "weights.safetensors"
    write_tensors(path, timm_state(layer_scale=True), {})
    return path


def test_from_weights_to_an_integer_model(sievit, weights, tmp_path):
    out, model = tmp_path / "float.safetensors", tmp_path / "model.safetensors"
    ended = sievit("import", out, "--weights", weights, *NUMBERS)
    assert ended.status == 0, ended
    assert "blocks.0..1.ls1" in ended.out
    assert "folded" in ended.out
    known = Settings(heads=3, mean=(0.5,) * 3, std=(0.2, 0.3, 0.25))
    true = import_file(weights, known).model
    got, images = load_float(out), random_images(CONFIG, 3)
    assert (got.mean, got.std, got.config) == (true.mean, true.std, true.config)
    assert (float_forward(got, images) == float_forward(true, images)).all()
    report = tmp_path / "report.json"
    ended = sievit("quantize", out, model, "--dataset", "random", "--report", "--json", report)
    assert ended.status == 0, ended
    assert "token cosine: mean 0.99" in ended.out
    assert "calibrated on 16 images" in ended.out
    written = json.loads(report.read_text())
    assert written["images"] == 4
    assert len(written["sqnr_db"]) == 3 + 11 * CONFIG.depth
    assert "imported by timm" in model_file.load(model).provenance["source"]
    ended = sievit("run", "-m", model, "-d", "random", "--images", 4, "--json", report)
    assert ended.status == 0
    assert "top-1" not in ended.out
    written = json.loads(report.read_text())
    assert written["top1_float"] is None
    jsonschema.validate(written, RUN)
    assert sievit("compile", "--model", model).status == 0


def test_only_the_table(sievit, weights):
    ended = sievit("import", "--weights", weights, *NUMBERS)
    assert ended.status == 0
    assert "next:" not in ended.out


def test_a_refusal_shows_the_table_and_writes_nothing(sievit, weights, tmp_path):
    state = {**timm_state(), "fc_norm.weight": np.zeros(24, np.float32)}
    write_tensors(weights, state, {})
    out = tmp_path / "float.safetensors"
    ended = sievit("import", out, "--weights", weights, *NUMBERS)
    assert "fc_norm: unsupported: a LayerNorm behind the patch mean" in ended.refused()
    assert "unsupported" in ended.out
    assert "supported" in ended.out
    assert not out.exists()


def test_names_alone_give_random_weights(sievit, monkeypatch, tmp_path):
    monkeypatch.setitem(architectures.ARCHITECTURES, "vit_test", TINY)
    out = tmp_path / "float.safetensors"
    ended = sievit("import", out, "--model", "vit_test", "--seed", 3, "--image-size", 24)
    assert ended.status == 0
    assert "note: vit_test with random weights, seed 3" in ended.out
    assert "1 blocks, 10 tokens, 64 channels, 1 heads, 3 classes" in ended.out
    assert load_float(out).provenance["seed"] == "3"
    ended = sievit("run", "--model", "vit_test", "--dataset", "random", "--images", 2)
    assert ended.status == 0
    assert "random weights" in ended.err
    assert "deit_tiny_patch16_224" in sievit("import", "--model", "?").out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "nothing to import; give --weights FILE, --model NAME, or both"),
        (("--model", "swin"), "no architecture 'swin'; the nearest are vit_"),
        (("--model", "vit_b_16", "--heads", 3), "--heads is of no use without --weights"),
        (("--model", "vit_b_16", "--pooling", "mean"), "--pooling is of no use without --weights"),
        (("--weights", "WEIGHTS", *NUMBERS, "--pooling", "max"), "pooling: unsupported: 'max'"),
        (("--weights", "WEIGHTS", "--mean", "a"), "--mean must be numbers with commas"),
        (("--weights", "WEIGHTS"), "heads: unsupported: not in the tensors"),
        (
            ("--weights", "WEIGHTS", "--model", "deit_tiny_patch16_224"),
            "embed_dim",
        ),
        (("WEIGHTS", "--weights", "WEIGHTS"), "would overwrite the weights"),
        (("--weights", "none.safetensors"), "none.safetensors: no such file"),
    ],
)
def test_bad_arguments(sievit, weights, arguments, message):
    arguments = [weights if word == "WEIGHTS" else word for word in arguments]
    assert message in sievit("import", *arguments).refused()


def test_the_mean_of_patches_from_weights_to_logits(sievit, tmp_path):
    weights, out, model, report = (
        tmp_path / name
        for name in ("gap.safetensors", "float.safetensors", "model.safetensors", "report.json")
    )
    config = replace(CONFIG, class_token=False, pooling="mean")
    write_tensors(weights, timm_state(config), {})
    refused = sievit("import", out, "--weights", weights, *NUMBERS).refused()
    assert "pooling: unsupported: no class token, and not in the tensors" in refused
    ended = sievit("import", out, "--weights", weights, *NUMBERS, "--pooling", "mean")
    assert ended.status == 0, ended
    assert "2 blocks, 9 tokens" in ended.out
    assert load_float(out).config == config
    ended = sievit("quantize", out, model, "--dataset", "random", "--report", "--json", report)
    assert ended.status == 0, ended
    assert ", pool " in ended.out
    assert "CLS" not in ended.out
    assert json.loads(report.read_text())["cls_cosine_mean"] is None
    assert sievit("compile", "--model", model).status == 0


def test_hugging_face_names(sievit, tmp_path):
    path = tmp_path / "model.safetensors"
    write_tensors(path, hugging_face_state(timm_state()), {})
    ended = sievit("import", "--weights", path, *NUMBERS)
    assert "Hugging Face's names" in ended.out
    assert ended.status == 0
