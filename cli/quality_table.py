"""How well an integer model follows its float original, as tables."""

from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from quantize.report import Quality

__all__ = ["print_quality"]


STAGE_TENSORS = ("score", "kept", "tokens")


def print_quality(console: Console, found: "Quality") -> None:
    """Print SQNR by block and tensor, and where the losses are."""
    from quantize.report import BLOCK_TENSORS

    every = {tensor.name: tensor.sqnr_db for tensor in found.tensors}
    prefixes = [name.removesuffix("patch_embed") for name in every if name.endswith("patch_embed")]
    ends = []
    for prefix in prefixes:
        ratios = {
            name.removeprefix(prefix): ratio
            for name, ratio in every.items()
            if name.startswith(prefix)
        }
        title = "SQNR in dB: a float tensor over what the integer model loses of it"
        title += f", effort {prefix.split('.')[1]}" if prefix else ""
        table = Table(title=title, box=None, padding=(0, 1, 0, 0))
        table.add_column("block", justify="right")
        for kind in BLOCK_TENSORS:
            table.add_column(kind.removeprefix("attn.").removeprefix("mlp."), justify="right")
        blocks = sum(name.endswith(".norm2") for name in ratios)
        for n in range(blocks):
            own = [ratios.get(f"blocks.{n}.{kind}") for kind in BLOCK_TENSORS]
            table.add_row(str(n), *("" if ratio is None else f"{ratio:.1f}" for ratio in own))
        console.print(table)
        names = [name for name in ("patch_embed", "norm", "pool", "head") if name in ratios]
        ends.append(", ".join(f"{prefix}{name} {ratios[name]:.1f} dB" for name in names))
        for n in range(blocks):
            stage = f"blocks.{n}.selector"
            if f"{stage}.score" in ratios:
                parts = ", ".join(
                    f"{part} {ratios[f'{stage}.{part}']:.1f} dB" for part in STAGE_TENSORS
                )
                text = f"{prefix}stage before block {n}: {parts}"
                console.print(text, highlight=False, soft_wrap=True)
    name, loss = found.largest_loss
    first = found.loses_first()
    summary = found.as_json()
    console.print(
        "\n".join(ends) + "\n"
        f"token cosine: mean {summary['token_cosine_mean']:.5f}, "
        f"least {summary['token_cosine_min']:.5f}"
        + f", CLS {found.token_cosines[:, 0].mean():.5f}"
        * found.class_token
        + "\n"
        f"the residual stream loses most at {name}: {loss:.1f} dB; "
        f"first tensor below 20 dB: {first.name if first else 'none'}",
        highlight=False,
        soft_wrap=True,
    )
    for tensor in found.tensors:
        if tensor.saturated:
            text = f"note: {tensor.name}: {tensor.saturated:,} elements at the end of their format"
            console.print(text, style="yellow", soft_wrap=True)
