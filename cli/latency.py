"""`sievit latency`."""

from rich.console import Console

from cli.options import (
    DramOption,
    JsonOption,
    ModelOption,
    PresetOption,
    load_shape,
    write_json,
)
from cli.stage_tables import latency_table as table
from spec.dram import DEFAULT_DRAM

__all__ = ["command"]


def command(
    model: ModelOption = "demo",
    preset: PresetOption = "tiny",
    dram: DramOption = DEFAULT_DRAM,
    json: JsonOption = None,
) -> None:
    """Predict an encoder block's cycles for each share of the patches that is left.

    HeatViT's latency-sparsity table (its Table IV) for this machine: with and without a token
    selector in front of the block. Weights are not needed, and the model's own stages, if it has
    any, do not matter.

    Example: sievit latency --model deit_tiny_patch16_224 --preset asic512 --json latency.json
    """
    from perf_model.latency import latency_table
    from spec.dram import dram_preset
    from spec.presets import preset as preset_of

    config, timing = preset_of(preset), dram_preset(dram)
    report = latency_table(load_shape(model), model, config, dram, timing)
    Console().print(table(report))
    write_json(json, report)
