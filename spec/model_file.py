"""The quantised model file: integer tensors, their float originals, and what they mean.

A safetensors file, never a pickle. Its metadata holds `format`, `version`, and as JSON `config`
(`ModelConfig`), `scales` (real units of the integer tensors) and `provenance`. Matrices are
stored K-major, `[inputs, outputs]`, as the hardware reads them; `docs/numerics.md` has the
equations in which they stand.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from spec.formats import ACT, LOGIT, PROB, REQUANTIZE, WEIGHT
from spec.masks import MaskError, kept_scores
from spec.model_config import THRESHOLDS, ModelConfig, ModelFileError, Stage, float_shapes

__all__ = [
    "FORMAT",
    "HIGHEST_THRESHOLD",
    "VERSION",
    "Model",
    "ModelConfig",
    "ModelFileError",
    "Stage",
    "float_shapes",
    "load",
    "read_tensors",
    "save",
    "tensor_table",
]

FORMAT = "sievit-model"
VERSION = "1"
FLOAT_PREFIX = "float."
DTYPES = {
    "I8": "int8",
    "U8": "uint8",
    "I16": "int16",
    "U16": "uint16",
    "I32": "int32",
    "U32": "uint32",
    "F16": "float16",
    "F32": "float32",
    "F64": "float64",
}
CODES = {dtype: code for code, dtype in DTYPES.items()}

Entry = tuple[str, tuple[int, ...]]


@dataclass(frozen=True, kw_only=True)
class Model:
    """A quantised model: `tensors` as `tensor_table` lists them."""

    config: ModelConfig
    tensors: Mapping[str, NDArray[Any]]
    scales: Mapping[str, Any] = field(default_factory=dict)
    """Real value of one unit of the integer tensors, by name; not used by integer arithmetic."""
    provenance: Mapping[str, Any] = field(default_factory=dict)
    """Where the weights come from; `mean`, `std` and `norm_epsilon` of the float model."""

    def __getitem__(self, name: str) -> NDArray[Any]:
        """Return the tensor of that name."""
        return self.tensors[name]

    @property
    def gate_scale(self) -> tuple[int, int]:
        """Multiplier and shift from the logits' unit to that of the gate between efforts."""
        return int(self["gate.mult"][0]), int(self["gate.shift"][0])

    def kept_scores(self, block: int) -> NDArray[np.bool_]:
        """Kept scores of a block that has a mask, bool [heads, queries, keys]."""
        name, config = f"blocks.{block}.attn.mask", self.config
        return kept_scores(
            self[f"{name}.pointers"],
            self[f"{name}.indices"],
            always=config.prefix_tokens if config.stages else 0,
        )

    def thresholds(self, block: int) -> dict[str, int]:
        """The thresholds of a block's `THRESHOLDS`; all 0 without any."""
        if not self.config.thresholds:
            return dict.fromkeys(THRESHOLDS, 0)
        values = self[f"blocks.{block}.thresholds"].tolist()
        return dict(zip(THRESHOLDS, values, strict=True))


def tensor_table(config: ModelConfig) -> dict[str, Entry]:
    """Name, dtype and shape of every tensor of a model file."""
    dim, heads = config.embed_dim, config.heads
    table: dict[str, Entry] = {}

    def linear(name: str, inputs: int, outputs: int) -> None:
        table[f"{name}.weight"] = ("int8", (inputs, outputs))
        table[f"{name}.bias"] = ("int32", (outputs,))
        table[f"{name}.mult"] = ("uint16", (outputs,))
        table[f"{name}.shift"] = ("uint8", (outputs,))

    def norm(name: str) -> None:
        table[f"{name}.gain"] = ("int16", (dim,))
        table[f"{name}.offset"] = ("int32", (dim,))
        table[f"{name}.shift"] = ("uint8", (1,))
        table[f"{name}.epsilon"] = ("uint32", (1,))

    linear("patch_embed", config.patch_dim, dim)
    table["embed.position"] = ("int16", (config.tokens, dim))
    for n in range(config.depth):
        block = f"blocks.{n}"
        norm(f"{block}.norm1")
        linear(f"{block}.attn.qkv", dim, 3 * config.attention_dim)
        for kind in ("score", "out"):
            table[f"{block}.attn.{kind}_mult"] = ("uint16", (heads,))
            table[f"{block}.attn.{kind}_shift"] = ("uint8", (heads,))
        if config.masked(n):
            table[f"{block}.attn.mask.pointers"] = ("uint32", (heads, config.tokens + 1))
            table[f"{block}.attn.mask.indices"] = ("uint16", (config.masks[n],))
        if config.thresholds:
            table[f"{block}.thresholds"] = ("uint16", (len(THRESHOLDS),))
        linear(f"{block}.attn.proj", config.attention_dim, dim)
        norm(f"{block}.norm2")
        linear(f"{block}.mlp.fc1", dim, config.mlp_dim)
        table[f"{block}.mlp.act.mult"] = ("uint16", (1,))
        table[f"{block}.mlp.act.shift"] = ("uint8", (1,))
        table[f"{block}.mlp.act.zero_point"] = ("int8", (1,))
        linear(f"{block}.mlp.fc2", config.mlp_dim, dim)
    for stage in config.stages:
        if stage.rule == "selector":
            table |= _selector_table(config, f"blocks.{stage.block}.selector")
    norm("norm")
    if config.pooling == "mean":
        table["pool.mult"] = ("uint16", (1,))
        table["pool.shift"] = ("uint8", (1,))
    linear("head", config.head_depth, config.classes)
    if len(config.efforts) > 1:
        table["gate.mult"] = ("uint16", (1,))
        table["gate.shift"] = ("uint8", (1,))
    for name, shape in float_shapes(config).items():
        table[FLOAT_PREFIX + name] = ("float16", shape)
    return table


def _selector_table(config: ModelConfig, name: str) -> dict[str, Entry]:
    """Tensors of a token selector; those of the heads are stacked."""
    heads, hidden = config.heads, config.selector_hidden
    full, half, quarter = config.selector_dims
    table: dict[str, Entry] = {}

    def layer(part: str, weight: tuple[int, ...], outputs: tuple[int, ...]) -> None:
        table[f"{name}.{part}.weight"] = ("int8", weight)
        for kind, dtype in (("bias", "int32"), ("mult", "uint16"), ("shift", "uint8")):
            table[f"{name}.{part}.{kind}"] = (dtype, outputs)

    def activation(part: str) -> None:
        for kind, dtype in (("mult", "uint16"), ("shift", "uint8"), ("zero_point", "int8")):
            table[f"{name}.{part}.act.{kind}"] = (dtype, (1,))

    layer("local", (heads, full, half), (heads, half))
    layer("global", (heads, full, half), (heads, half))
    table[f"{name}.mean.mult"] = ("uint16", (1,))
    table[f"{name}.mean.shift"] = ("uint8", (1,))
    layer("score1", (heads, 2 * half, half), (heads, half))
    layer("score2", (heads, half, quarter), (heads, quarter))
    layer("keep", (heads, quarter), (heads,))
    layer("attn1", (config.embed_dim, hidden), (hidden,))
    layer("attn2", (hidden, heads), (heads,))
    for part in ("local", "score1", "score2", "attn1"):
        activation(part)
    return table


def load(path: str | os.PathLike[str]) -> Model:
    """Read and check a model file; `ModelFileError` says in one line what is wrong with it."""
    path = Path(path)
    metadata, tensors = read_tensors(path)
    if metadata.get("format") != FORMAT:
        raise ModelFileError(
            f"{path}: not a quantised model: metadata 'format' must be '{FORMAT}', "
            f"not {metadata.get('format')!r}"
        )
    if metadata.get("version") != VERSION:
        raise ModelFileError(
            f"{path}: this release reads version '{VERSION}' of '{FORMAT}', "
            f"not {metadata.get('version')!r}"
        )
    config = ModelConfig.from_json(metadata.get("config"), where=str(path))
    model = Model(
        config=config,
        tensors=tensors,
        scales=_json_object(path, metadata, "scales"),
        provenance=_json_object(path, metadata, "provenance"),
    )
    _check(model, str(path))
    return model


def save(model: Model, path: str | os.PathLike[str]) -> None:
    """Check and write a model file, atomically and with the same bytes each time."""
    _check(model, "model")
    metadata = {
        "format": FORMAT,
        "version": VERSION,
        "config": json.dumps(asdict(model.config), sort_keys=True),
        "scales": json.dumps(model.scales, sort_keys=True),
        "provenance": json.dumps(model.provenance, sort_keys=True),
    }
    write_tensors(Path(path), model.tensors, metadata)


def read_tensors(path: Path) -> tuple[dict[str, str], dict[str, NDArray[Any]]]:
    """Metadata and tensors of any safetensors file."""
    if not path.is_file():
        raise ModelFileError(f"{path}: no such file")
    try:
        with safe_open(path, "np") as file:
            metadata = file.metadata() or {}
            tensors = {}
            for name in file.keys():  # noqa: SIM118 - not a mapping
                code = file.get_slice(name).get_dtype()
                if code not in DTYPES:
                    raise ModelFileError(f"{path}: {name}: dtype {code} is not supported")
                tensors[name] = file.get_tensor(name)
    except (SafetensorError, OSError, UnicodeError) as error:
        raise ModelFileError(f"{path}: not a readable safetensors file: {error}") from None
    return metadata, tensors


def write_tensors(
    path: Path, tensors: Mapping[str, NDArray[Any]], metadata: Mapping[str, str]
) -> None:
    """Write a safetensors file, atomically.

    Written out here because the library does not order the metadata: equal models must be equal
    files.
    """
    header: dict[str, Any] = {"__metadata__": dict(sorted(metadata.items()))}
    chunks, end = [], 0
    for name in sorted(tensors, key=lambda key: (-tensors[key].dtype.itemsize, key)):
        tensor = tensors[name]
        chunks.append(tensor.astype(tensor.dtype.newbyteorder("<")).tobytes())
        start, end = end, end + len(chunks[-1])
        header[name] = {
            "dtype": CODES[tensor.dtype.name],
            "shape": list(tensor.shape),
            "data_offsets": [start, end],
        }
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    partial = path.with_name(path.name + ".partial")
    try:
        partial.write_bytes(b"".join([len(text).to_bytes(8, "little"), text, *chunks]))
        os.replace(partial, path)
    except OSError as error:
        raise ModelFileError(f"{path}: cannot write: {error.strerror}") from None


def _json_object(path: Path, metadata: Mapping[str, str], key: str) -> dict[str, Any]:
    try:
        value = json.loads(metadata.get(key, "{}"))
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise ModelFileError(f"{path}: metadata '{key}' must be a JSON object")
    return value


def _check(model: Model, where: str) -> None:
    table = tensor_table(model.config)
    for kind, names in (
        ("missing", table.keys() - model.tensors.keys()),
        ("unknown", model.tensors.keys() - table.keys()),
    ):
        if names:
            more = f" and {len(names) - 1} more" if len(names) > 1 else ""
            raise ModelFileError(f"{where}: {kind} tensor {min(names)}{more}")
    for name, (dtype, shape) in table.items():
        tensor = model.tensors[name]
        if tensor.dtype.name != dtype or tensor.shape != shape:
            raise ModelFileError(
                f"{where}: {name}: must be {dtype} {list(shape)}, "
                f"not {tensor.dtype.name} {list(tensor.shape)}"
            )
        if dtype == "float16" and not np.isfinite(tensor).all():
            raise ModelFileError(f"{where}: {name}: holds values that are not finite (NaN or inf)")
        if name.endswith("shift") and tensor.max() > (limit := _max_shift(name)):
            raise ModelFileError(f"{where}: {name}: must be at most {limit}, not {tensor.max()}")
        if dtype == "int8" and name.endswith(".weight") and tensor.min() < WEIGHT.low:
            raise ModelFileError(f"{where}: {name}: must be at least {WEIGHT.low}, not -128")
    for n in range(model.config.depth):
        if model.config.masked(n):
            try:
                model.kept_scores(n)
            except MaskError as error:
                raise ModelFileError(f"{where}: blocks.{n}.attn.mask.{error}") from None
        if model.config.thresholds:
            for name, threshold in model.thresholds(n).items():
                if threshold > HIGHEST_THRESHOLD[name]:
                    raise ModelFileError(
                        f"{where}: blocks.{n}.thresholds: {name} must be at most "
                        f"{HIGHEST_THRESHOLD[name]}, not {threshold}"
                    )


HIGHEST_THRESHOLD = {
    **dict.fromkeys(("q", "k", "v", "context"), ACT.high - 1),
    **dict.fromkeys(("scores", "proj", "fc1", "fc2"), LOGIT.high - 1),
    "probs": PROB.high - 1,
}
"""Something must be left: a row's largest probability is 255."""


def _max_shift(name: str) -> int:
    # The row's sum of up to 18 bits adds 17 to an attention output's shift, and to the mean's.
    return 31 if name.endswith(("out_shift", "pool.shift", "mean.shift")) else REQUANTIZE.max_shift
