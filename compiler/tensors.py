"""Names, shapes and types of the intermediate tensors, in the order of the network."""

from collections.abc import Iterator
from dataclasses import dataclass

from spec.model_file import ModelConfig

__all__ = ["Entry", "intermediate_tensors"]


@dataclass(frozen=True, kw_only=True)
class Entry:
    """Of one tensor."""

    shape: tuple[int, ...]
    """If no token is dropped."""
    dtype: str
    stages: int = 0
    """Selections before it."""
    live_axes: tuple[int, ...] = (0,)
    """Axes that are shorter by the number of dropped tokens."""


def intermediate_tensors(shape: ModelConfig) -> dict[str, Entry]:
    """Every tensor that `golden_model.vit` collects for one image and an instruction writes.

    shape : of a model of one effort
    Logits and probabilities of a masked block are not among them: they come in the order of lists.
    """
    return dict(_entries(shape))


def _entries(shape: ModelConfig) -> Iterator[tuple[str, Entry]]:
    stages, before = {stage.block: stage for stage in shape.stages}, 0
    (effort,) = shape.passes

    def rows(channels: int, dtype: str = "int8", but: int = 0) -> Entry:
        return Entry(shape=(shape.tokens - but, channels), dtype=dtype, stages=before)

    def pairs(dtype: str) -> Entry:
        size = (shape.heads, shape.tokens, shape.tokens)
        return Entry(shape=size, dtype=dtype, stages=before, live_axes=(1, 2))

    dim = shape.embed_dim
    yield "patch_embed", rows(dim, "int16")
    for n in range(shape.depth):
        block = f"blocks.{n}"
        if n in stages:
            if stages[n].rule == "selector":
                _, half, quarter = (size * shape.heads for size in shape.selector_dims)
                name = f"{block}.selector"
                yield f"{name}.norm", rows(dim)
                yield f"{name}.local", rows(half)
                yield f"{name}.global", rows(half, but=shape.prefix_tokens)
                yield f"{name}.mean", Entry(shape=(1, half), dtype="int8", live_axes=())
                yield f"{name}.score1", rows(half)
                yield f"{name}.score2", rows(quarter)
                yield f"{name}.keep", rows(shape.heads, "int16")
                yield f"{name}.attn1", rows(shape.selector_hidden)
                yield f"{name}.attend", rows(shape.heads, "int16")
            before += 1
            yield f"{block}.selector.tokens", rows(dim, "int16")
        if n not in effort.skipped:
            yield f"{block}.norm1", rows(dim)
            for kind in "qkv":
                yield f"{block}.attn.{kind}", rows(shape.attention_dim)
            if not shape.masked(n):
                yield f"{block}.attn.logits", pairs("int16")
                yield f"{block}.attn.probs", pairs("uint8")
            yield f"{block}.attn.context", rows(shape.attention_dim)
            yield f"{block}.attn.proj", rows(dim, "int16")
        yield f"{block}.norm2", rows(dim)
        yield f"{block}.mlp.fc1", rows(shape.mlp_dim)
        yield f"{block}.mlp.fc2", rows(dim, "int16")
    if shape.pooling == "mean":
        yield "norm", rows(dim, but=shape.prefix_tokens)
        yield "pool", Entry(shape=(1, dim), dtype="int8", live_axes=())
    else:
        yield "norm", Entry(shape=(len(shape.head_rows), dim), dtype="int8", live_axes=())
    yield "head", Entry(shape=(shape.classes,), dtype="int16", live_axes=())
