"""Reads a foreign model: first names and shapes, and only if all is well its values."""

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from quantize.errors import QuantizeError
from quantize.float_model import NORM_EPSILON, FloatModel
from quantize.importers.assemble import assemble
from quantize.importers.dialect import Dialect, layer_of
from quantize.importers.huggingface import HUGGING_FACE
from quantize.importers.settings import Settings, settings_beside
from quantize.importers.shape import config_of, folded_rows
from quantize.importers.table import ImportRefusedError, ImportTable, Row, Verdict
from quantize.importers.timm import TIMM
from quantize.importers.torchvision import TORCHVISION

__all__ = ["DIALECTS", "Imported", "import_file", "import_live", "import_tensors"]

DIALECTS = (TIMM, TORCHVISION, HUGGING_FACE)
FLOATS = ("F16", "F32", "F64")

Entry = tuple[str, tuple[int, ...]]
Read = Callable[[str], NDArray[Any]]


@dataclass(frozen=True, kw_only=True)
class Imported:
    """A model, where it came from, and what became of each layer."""

    model: FloatModel
    dialect: str
    table: ImportTable


def import_file(path: str | os.PathLike[str], settings: Settings | None = None) -> Imported:
    """Import a safetensors file; `ImportRefusedError` has the table of a model that cannot be.

    settings : what is known; the rest is looked for in `config.json` beside the file
    """
    path = Path(path)
    if not path.is_file():
        raise QuantizeError(f"{path}: no such file")
    if path.suffix in (".bin", ".pt", ".pth", ".pkl"):
        raise QuantizeError(f"{path}: pickles are not read; convert it to safetensors")
    settings = (settings or Settings()).or_else(settings_beside(path))
    try:
        with safe_open(path, "np") as file:
            header = {}
            for name in file.keys():  # noqa: SIM118 - not a mapping
                part = file.get_slice(name)
                header[name] = (part.get_dtype(), tuple(part.get_shape()))
            return import_tensors(header, file.get_tensor, settings, str(path))
    except (SafetensorError, UnicodeError) as error:
        raise QuantizeError(f"{path}: not a readable safetensors file: {error}") from None


def import_live(model: Any, image_size: int | None = None) -> Imported:  # noqa: ANN401 - timm's
    """Import a timm `VisionTransformer` object; torch stays the caller's business."""
    state = model.state_dict()
    described = getattr(model, "pretrained_cfg", None) or {}
    first = model.blocks[0]
    activation = type(first.mlp.act).__name__.lower()
    approximate = getattr(first.mlp.act, "approximate", "none")
    block = type(first).__name__
    settings = Settings(
        heads=first.attn.num_heads,
        image_size=image_size or model.patch_embed.img_size[0],
        mean=tuple(described["mean"]) if "mean" in described else None,
        std=tuple(described["std"]) if "std" in described else None,
        norm_epsilon=getattr(model.norm, "eps", None),
        activation=activation if approximate == "none" else f"{activation}, {approximate}",
        pooling=_live_pooling(model),
        # Post-norm blocks have the same names: only their class tells.
        kind=None if block == "Block" else block,
    )
    header = {name: ("F32", tuple(value.shape)) for name, value in state.items()}

    def read(name: str) -> NDArray[Any]:
        return state[name].detach().float().cpu().numpy()

    return import_tensors(header, read, settings, type(model).__name__)


def _live_pooling(model: Any) -> str:  # noqa: ANN401 - timm's
    includes_prefix = getattr(model, "pool_include_prefix", False)
    return f"{model.global_pool} of all tokens" if includes_prefix else model.global_pool


def import_tensors(
    header: Mapping[str, Entry], read: Read, settings: Settings, where: str
) -> Imported:
    """Import named tensors: `header` has dtype and shape of each, `read` its value."""
    dialect = next((entry for entry in DIALECTS if entry.speaks(header)), None)
    if not header:
        raise QuantizeError(f"{where}: holds no tensor")
    if dialect is None:
        # Wrappers put one word in front of all names: `model.`, `module.`.
        wrapper, dot, _ = next(iter(header)).partition(".")
        inner = {name.removeprefix(wrapper + dot): entry for name, entry in header.items()}
        if all(name.startswith(wrapper + dot) for name in header) and any(
            entry.speaks(inner) for entry in DIALECTS
        ):
            return import_tensors(inner, lambda name: read(wrapper + dot + name), settings, where)
        known = ", ".join(entry.name for entry in DIALECTS)
        why = f"no vision transformer's name in {known}"
        names = sorted(header, key=_natural)
        refused = (Row(layer_of(name), Verdict.UNSUPPORTED, why) for name in names)
        raise ImportRefusedError(where, ImportTable.of(refused))
    if dialect is TORCHVISION:
        settings = settings.or_else(
            Settings(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225), norm_epsilon=1e-6)
        )
    sources, rows = _translate(dialect, header)
    shapes = {canonical: header[name][1] for canonical, name in sources.items()}
    config, problems = config_of(shapes, settings, dialect.distillation_has_head)
    table = ImportTable.of([*rows, *problems])
    table.require_supported(where)
    assert config is not None
    assert settings.mean is not None
    assert settings.std is not None
    table = ImportTable.of([*table.rows, *folded_rows(config, shapes)])
    found = {name: read(source).astype(np.float32) for name, source in sources.items()}
    try:
        model = FloatModel(
            config=config,
            parameters=assemble(config, found),
            mean=settings.mean,
            std=settings.std,
            norm_epsilon=NORM_EPSILON if settings.norm_epsilon is None else settings.norm_epsilon,
            provenance={"source": f"imported by {dialect.name}'s names"},
        )
    except QuantizeError as error:
        raise QuantizeError(f"{where}: {error}") from None
    return Imported(model=model, dialect=dialect.name, table=table)


def _translate(dialect: Dialect, header: Mapping[str, Entry]) -> tuple[dict[str, str], list[Row]]:
    """Canonical name -> foreign name, and a row for each layer."""
    sources: dict[str, str] = {}
    rows: list[Row] = []
    for name in sorted(header, key=_natural):
        layer, dtype = layer_of(name), header[name][0]
        rule, canonical = dialect.rule_of(name)
        if rule is None:
            rows.append(Row(layer, Verdict.UNSUPPORTED, f"not known among {dialect.name}'s names"))
        elif rule.unsupported:
            rows.append(Row(layer, Verdict.UNSUPPORTED, rule.unsupported))
        elif canonical is None:
            rows.append(Row(layer, Verdict.DROPPED, rule.dropped))
        elif canonical in sources:
            rows.append(Row(layer, Verdict.UNSUPPORTED, f"is there twice: {sources[canonical]}"))
        else:
            sources[canonical] = name
            if dtype not in FLOATS:
                why = f"is {dtype}; must be {', '.join(FLOATS)}"
                rows.append(Row(layer, Verdict.UNSUPPORTED, why))
                continue
            rows.append(Row(layer, *_verdict(canonical)))
    return sources, rows


def _verdict(canonical: str) -> tuple[Verdict, str]:
    if canonical.endswith(".gamma"):
        target = "attn.proj" if ".ls1." in canonical else "mlp.fc2"
        return Verdict.FOLDED, f"LayerScale: into weight and bias of {target}"
    if re.search(r"\.attn\.[qkv]\.", canonical):
        return Verdict.SUPPORTED, "joined to one matrix"
    return Verdict.SUPPORTED, ""


def _natural(name: str) -> list[tuple[int, str]]:
    """Sort key in which block 10 follows block 9."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]
