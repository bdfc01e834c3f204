"""Hugging Face transformers' names of ViT, DeiT, DINOv2 and I-JEPA, with or without a prefix."""

from quantize.importers.dialect import REGISTERS, Dialect, Rule

__all__ = ["HUGGING_FACE"]

PARAMETER = r"(weight|bias)"
PREFIX = r"(?:vit\.|deit\.|dinov2\.|dinov2_with_registers\.|ijepa\.)?"
BLOCK = rf"{PREFIX}encoder\.layer\.(\d+)\."

HUGGING_FACE = Dialect(
    name="Hugging Face",
    marks=(r"(^|\.)encoder\.layer\.\d+\.", r"(^|\.)embeddings\.patch_embeddings\."),
    rules=(
        Rule(pattern=rf"{PREFIX}embeddings\.cls_token", canonical="cls_token"),
        Rule(pattern=rf"{PREFIX}embeddings\.distillation_token", canonical="dist_token"),
        Rule(pattern=rf"{PREFIX}embeddings\.position_embeddings", canonical="pos_embed"),
        Rule(
            pattern=rf"{PREFIX}embeddings\.patch_embeddings\.projection\.{PARAMETER}",
            canonical=r"patch_embed.proj.\1",
        ),
        Rule(pattern=rf"{BLOCK}layernorm_before\.{PARAMETER}", canonical=r"blocks.\1.norm1.\2"),
        Rule(pattern=rf"{BLOCK}layernorm_after\.{PARAMETER}", canonical=r"blocks.\1.norm2.\2"),
        Rule(pattern=rf"{BLOCK}norm([12])\.{PARAMETER}", canonical=r"blocks.\1.norm\2.\3"),
        Rule(
            pattern=rf"{BLOCK}attention\.attention\.([qkv])(?:uery|ey|alue)\.{PARAMETER}",
            canonical=r"blocks.\1.attn.\2.\3",
        ),
        Rule(
            pattern=rf"{BLOCK}attention\.output\.dense\.{PARAMETER}",
            canonical=r"blocks.\1.attn.proj.\2",
        ),
        Rule(pattern=rf"{BLOCK}layer_scale([12])\.lambda1", canonical=r"blocks.\1.ls\2.gamma"),
        Rule(
            pattern=rf"{BLOCK}(?:intermediate\.dense|mlp\.fc1)\.{PARAMETER}",
            canonical=r"blocks.\1.mlp.fc1.\2",
        ),
        Rule(
            pattern=rf"{BLOCK}(?:output\.dense|mlp\.fc2)\.{PARAMETER}",
            canonical=r"blocks.\1.mlp.fc2.\2",
        ),
        Rule(pattern=rf"{PREFIX}layernorm\.{PARAMETER}", canonical=r"norm.\1"),
        Rule(pattern=rf"(?:cls_)?classifier\.{PARAMETER}", canonical=r"head.\1"),
        Rule(pattern=rf"distillation_classifier\.{PARAMETER}", canonical=r"head_dist.\1"),
        Rule(pattern=rf"{PREFIX}embeddings\.mask_token", dropped="used in training only"),
        Rule(pattern=rf"{PREFIX}pooler\..*", dropped="the classifier reads CLS without the pooler"),
        Rule(
            pattern=rf"{PREFIX}embeddings\.register_tokens",
            unsupported=REGISTERS,
        ),
        Rule(
            pattern=rf"{BLOCK}mlp\.weights_(in|out)\..*",
            unsupported="SwiGLU: no product of two activations",
        ),
        Rule(
            pattern=rf"{BLOCK}(attention\.)?output\.LayerNorm\..*",
            unsupported="post-norm: LayerNorm must stand before attention and MLP",
        ),
        Rule(
            pattern=r".*relative_position.*",
            unsupported="relative position bias: nothing is added to the scores",
        ),
        Rule(pattern=r"decoder\..*", unsupported="a decoder after the encoder"),
    ),
    distillation_has_head=False,
)
