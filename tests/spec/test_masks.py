"""Masks and thresholds of model files: the CSC form, and what is refused when a file is read."""

import json
from dataclasses import asdict, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spec.masks import MaskError, kept_scores, masked_tensors
from spec.model_file import ModelFileError, Stage, load, save, write_tensors
from tests.sieved_models import masked, with_thresholds
from tests.spec.test_model_file import CONFIG, model_of

MASKED = with_thresholds(masked(model_of(replace(CONFIG, depth=2)), 0.4, blocks=[1]))
NAME = "blocks.1.attn.mask"


def changed(name, change):
    """The model with one tensor changed; `change` may return another array."""
    array = MASKED.tensors[name].copy()
    other = change(array)
    tensors = {**MASKED.tensors, name: array if other is None else other}
    return replace(MASKED, tensors=tensors)


def write(model, path):
    """Without the checks of `save`."""
    metadata = {
        "format": "sievit-model",
        "version": "1",
        "config": json.dumps(asdict(model.config)),
    }
    write_tensors(path, model.tensors, metadata)
    return path


def refusal(model, tmp_path):
    """The one line with which it cannot be read, and not be saved either."""
    path = write(model, tmp_path / "model.safetensors")
    with pytest.raises(ModelFileError) as error:
        load(path)
    assert "\n" not in str(error.value)
    with pytest.raises(ModelFileError):
        save(model, tmp_path / "other.safetensors")
    return str(error.value).removeprefix(f"{path}: ")


def test_what_is_saved_is_loaded(tmp_path):
    save(MASKED, tmp_path / "model.safetensors")
    model = load(tmp_path / "model.safetensors")
    assert model.config == MASKED.config
    assert not model.config.masked(0)
    assert np.array_equal(model.kept_scores(1), MASKED.kept_scores(1))
    assert model.kept_scores(1).sum() == model.config.masks[1]
    assert model.thresholds(1)["probs"] == 30
    plain = model_of()
    assert set(plain.thresholds(0).values()) == {0}


@given(st.integers(1, 4), st.integers(1, 9), st.floats(0, 1), st.integers(0, 99))
def test_csc_holds_any_mask(heads, tokens, share, seed):
    kept = np.random.default_rng(seed).random((heads, tokens, tokens)) < share
    kept[:, np.arange(tokens), np.arange(tokens)] = True
    pointers, indices = masked_tensors(kept)
    assert np.array_equal(kept_scores(pointers, indices), kept)
    for head, key in np.ndindex(heads, tokens):
        own = indices[pointers[head, key] : pointers[head, key + 1]]
        assert own.tolist() == np.flatnonzero(kept[head, :, key]).tolist()


def backwards(pointers):
    pointers[0, 2] = pointers[0, 1] - 1


def swapped(indices):
    indices[[0, 1]] = indices[[1, 0]]


def twice(indices):
    indices[1] = indices[0]


def beyond(indices):
    indices[4] = 5


def last(value):
    def change(pointers):
        pointers[-1, -1] = int(pointers[-1, -1]) + value

    return change


def begin(pointers):
    pointers[0, 0] = 1


@pytest.mark.parametrize(
    ("tensor", "change", "message"),
    [
        (
            "pointers",
            backwards,
            "pointers: head 0, key 1: 5..4 must begin at 5, not run backwards, and end at {kept} "
            "at most",
        ),
        ("pointers", begin, "pointers: head 0, key 0: 1..5 must begin at 0, not run backwards"),
        ("pointers", last(1), "pointers: head 1, key 4: {before}..{more} must begin at {before}"),
        ("pointers", last(-1), "pointers: they end at {less}, there are {kept} indices"),
        ("indices", swapped, "indices: head 0, key 0: the queries must be ascending"),
        ("indices", twice, "indices: head 0, key 0: the queries must be ascending"),
        ("indices", beyond, "indices: head 0, key 0: query 5 must be below 5, the tokens"),
        (
            "pointers",
            lambda pointers: pointers[:, :-1],
            ": must be uint32 [2, 6], not uint32 [2, 5]",
        ),
        ("pointers", lambda pointers: pointers[:1], ": must be uint32 [2, 6], not uint32 [1, 6]"),
        ("indices", lambda indices: indices[:-1], ": must be uint16 [{kept}], not uint16 [{less}]"),
        (
            "indices",
            lambda indices: indices.astype(np.int32),
            ": must be uint16 [{kept}], not int32 [{kept}]",
        ),
    ],
)
def test_csc_defects(tensor, change, message, tmp_path):
    pointers = MASKED.tensors[f"{NAME}.pointers"]
    kept = int(pointers[-1, -1])
    text = refusal(changed(f"{NAME}.{tensor}", change), tmp_path)
    message = message.format(kept=kept, more=kept + 1, less=kept - 1, before=int(pointers[-1, -2]))
    start = f"{NAME}.{tensor}" if message.startswith(":") else f"{NAME}."
    assert text.startswith(start + message)


def test_a_query_that_keeps_nothing(tmp_path):
    kept = MASKED.kept_scores(1)
    kept[1, 3] = False
    pointers, indices = masked_tensors(kept)
    tensors = {**MASKED.tensors, f"{NAME}.pointers": pointers, f"{NAME}.indices": indices}
    config = replace(MASKED.config, masks=(0, len(indices)))
    model = replace(MASKED, tensors=tensors, config=config)
    assert refusal(model, tmp_path) == f"{NAME}.head 1, query 3: must keep a key"


def test_with_stages_a_query_must_keep_what_stays():
    kept = np.ones((1, 5, 5), bool)
    kept[0, 2, 0] = False
    pointers, indices = masked_tensors(kept)
    kept_scores(pointers, indices)
    with pytest.raises(MaskError, match="query 2: must keep one of the first 1 keys, which stay"):
        kept_scores(pointers, indices, always=1)


@pytest.mark.parametrize(
    ("point", "most"),
    [
        *((point, 126) for point in ("q", "k", "v", "context")),
        *((point, 32766) for point in ("scores", "proj", "fc1", "fc2")),
        ("probs", 254),
    ],
)
def test_thresholds_out_of_range(point, most, tmp_path):
    place = list(MASKED.thresholds(0)).index(point)

    def to(value):
        def change(thresholds):
            thresholds[place] = value

        return changed("blocks.1.thresholds", change)

    save(to(most), tmp_path / "most.safetensors")
    assert refusal(to(most + 1), tmp_path) == (
        f"blocks.1.thresholds: {point} must be at most {most}, not {most + 1}"
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"masks": (0,)}, "masks must have an entry for each of 2 blocks, not 1"),
        ({"masks": (0, 4)}, "masks[1] must be 0 or a number of kept scores in 5..50, not 4"),
        ({"masks": (51, 0)}, "masks[0] must be 0 or a number of kept scores in 5..50, not 51"),
        ({"masks": (True, 0)}, "masks[0] must be 0 or a number of kept scores in 5..50, not True"),
        (
            {"stages": (Stage(block=1, rule="cls_attention"),), "masks": (20, 0)},
            "masks[0] must be 0: rule cls_attention before block 1 needs all scores of the block "
            "before",
        ),
        (
            {
                "stages": (Stage(block=1, rule="selector"),),
                "masks": (20, 0),
                "class_token": False,
                "pooling": "mean",
            },
            "masks and stages together need a class_token, which always stays",
        ),
        ({"thresholds": 1}, "thresholds must be true or false, not 1"),
        ({"auto_encoder": 3}, "auto_encoder must be an integer in 0..heads, not 3"),
    ],
)
def test_configurations_that_cannot_be(changes, message):
    with pytest.raises(ModelFileError) as error:
        replace(CONFIG, depth=2, **changes)
    assert str(error.value) == message


def test_masks_of_a_file_must_be_a_list(tmp_path):
    path = tmp_path / "model.safetensors"
    config = {**asdict(MASKED.config), "masks": "all"}
    metadata = {"format": "sievit-model", "version": "1", "config": json.dumps(config)}
    write_tensors(path, MASKED.tensors, metadata)
    with pytest.raises(ModelFileError, match=r"config: masks must be a list, not 'all'"):
        load(path)
