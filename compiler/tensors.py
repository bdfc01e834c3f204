"""Names, shapes and types of the intermediate tensors, in the order of the network."""

from spec.model_file import ModelConfig

__all__ = ["intermediate_tensors"]


Entry = tuple[tuple[int, ...], str]


def intermediate_tensors(shape: ModelConfig) -> dict[str, Entry]:
    """Shape and dtype of every tensor that `golden_model.vit` collects for one image."""
    residual: Entry = ((shape.tokens, shape.embed_dim), "int16")
    normal = ((shape.tokens, shape.embed_dim), "int8")
    heads = ((shape.tokens, shape.attention_dim), "int8")
    pairs = (shape.heads, shape.tokens, shape.tokens)
    out: dict[str, Entry] = {"patch_embed": residual}
    for n in range(shape.depth):
        block = f"blocks.{n}"
        out[f"{block}.norm1"] = normal
        for kind in "qkv":
            out[f"{block}.attn.{kind}"] = heads
        out[f"{block}.attn.logits"] = (pairs, "int16")
        out[f"{block}.attn.probs"] = (pairs, "uint8")
        out[f"{block}.attn.context"] = heads
        out[f"{block}.attn.proj"] = residual
        out[f"{block}.norm2"] = normal
        out[f"{block}.mlp.fc1"] = ((shape.tokens, shape.mlp_dim), "int8")
        out[f"{block}.mlp.fc2"] = residual
    out["norm"] = ((len(shape.head_rows), shape.embed_dim), "int8")
    if shape.pooling == "mean":
        out["pool"] = ((1, shape.embed_dim), "int8")
    out["head"] = ((shape.classes,), "int16")
    return out
