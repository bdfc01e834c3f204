"""`sievit masks` and `sievit profile`: tables, files, pictures, and what they refuse."""

import json

import numpy as np
import pytest

from cli.options import BUNDLED
from quantize.masks import kept_masks
from quantize.random_masks import VITCOD_FILE
from spec.model_file import load
from spec.presets import preset


def test_masks_are_made_and_written(sievit, tmp_path):
    out, path = tmp_path / "masked.safetensors", tmp_path / "masks.json"
    ended = sievit(
        *("masks", "micro", out, "--dataset", "sample", "--images", 20),
        *("--sparsity", 0.5, "--json", path),
    )
    assert ended.status == 0, ended.err
    model, report = load(out), json.loads(path.read_text())
    assert report["sparsity"] == 1 - kept_masks(model).mean()
    assert 0.5 <= report["sparsity"] < 0.53
    assert [row["block"] for row in report["blocks"]] == [0, 1]
    assert "of the scores pruned" in ended.out
    assert sievit("run", "-m", out, "--images", 4).status == 0


def test_the_published_masks_are_reported(sievit, tmp_path):
    path = tmp_path / "masks.json"
    ended = sievit("masks", "deit_tiny_patch16_224:3~vitcod", "--json", path)
    assert ended.status == 0
    report = json.loads(path.read_text())
    with np.load(VITCOD_FILE) as file:
        expected = file["global_tokens"][:3].astype(int).tolist()
    assert [row["global_tokens"] for row in report["blocks"]] == expected


def test_lists_of_a_machine(sievit, tmp_path):
    path = tmp_path / "masks.json"
    ended = sievit("masks", "micro-masks", "--preset", "tiny", "--json", path)
    assert ended.status == 0
    kept = kept_masks(load(BUNDLED / "micro-masks.safetensors"))
    config = preset("tiny")
    for row, mask in zip(json.loads(path.read_text())["blocks"], kept, strict=True):
        # an entry is a byte, and a pair of queries has a header of a step
        assert row["list_bytes"] >= mask.sum() + 2 * 5 * config.banks
        assert row["list_bytes"] % config.lanes == 0
        assert f"{row['list_bytes']:,}" in ended.out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("micro",), "micro: has no masks; --sparsity or --information makes some"),
        (("micro-masks", "out.safetensors"), "nothing to write"),
        (("micro", "--sparsity", 0.5, "--information", 0.5), "give one of them"),
        (("micro", "--sparsity", 0.95, "-d", "sample"), "sparsity 0.95 cannot be reached"),
    ],
)
def test_masks_that_are_refused(sievit, arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert message in sievit("masks", *arguments).refused()


def test_profile(sievit, tmp_path):
    out, path = tmp_path / "thresholds.safetensors", tmp_path / "profile.json"
    ended = sievit(
        *("profile", "-m", "micro", "--images", 40, "--tau", "0,0.2"),
        *("--tensors", "context,probs", "--json", path, "--out", out),
    )
    assert ended.status == 0, ended.err
    report = json.loads(path.read_text())
    first, second = report["profile"]
    assert first["tau"] == 0
    assert second["sparsity"]["context"] > first["sparsity"]["context"] + 0.1
    assert second["saved"] > first["saved"]
    assert f"{second['saved']:.1%}" in ended.out
    codes = load(out).thresholds(0)
    assert codes["probs"] == 51
    assert codes["q"] == codes["fc1"] == 0
    assert sievit("run", "-m", out, "--images", 4).status == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--tau", "0,x"), "--tau must be numbers of at least 0, as 0,0.05,0.1, not '0,x'"),
        (("--tau", "-1"), "--tau must be numbers of at least 0"),
        (("--tensors", "q,norm1"), "--tensors must be some of q, k, v"),
        (("--tau", "0,1e6"), "q must be at most"),
    ],
)
def test_profiles_that_are_refused(sievit, arguments, message):
    refusal = sievit("profile", "-m", "micro", "--images", 4, *arguments).refused()
    assert message in refusal


def test_pictures(sievit, tmp_path):
    pytest.importorskip("matplotlib", reason="pictures need the extra 'plot' (matplotlib)")
    masks, curve = tmp_path / "masks.png", tmp_path / "curve.svg"
    assert sievit("masks", "micro-masks", "--pictures", masks).status == 0
    ended = sievit("profile", "-m", "micro", "--images", 4, "--tau", "0,0.2", "--curve", curve)
    assert ended.status == 0
    assert masks.read_bytes().startswith(b"\x89PNG")
    assert b"<svg" in curve.read_bytes()
