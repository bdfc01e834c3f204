"""timm's names, which are those of the original DeiT and DINOv2 code too."""

from quantize.importers.dialect import NORM_OF_MEAN, REGISTERS, Dialect, Rule

__all__ = ["TIMM"]

PARAMETER = r"\.(weight|bias)"
BLOCK = r"blocks\.(\d+)\."

TIMM = Dialect(
    name="timm",
    marks=(r"^blocks\.\d+\.", r"^patch_embed\."),
    rules=(
        Rule(pattern=r"cls_token|dist_token|pos_embed", canonical=r"\g<0>"),
        Rule(pattern=rf"patch_embed\.proj{PARAMETER}", canonical=r"\g<0>"),
        Rule(pattern=rf"{BLOCK}(norm[12]|attn\.(?:qkv|proj)){PARAMETER}", canonical=r"\g<0>"),
        Rule(
            pattern=rf"{BLOCK}attn\.([qkv])_(?:proj\.)?(weight|bias)",
            canonical=r"blocks.\1.attn.\2.\3",
        ),
        Rule(pattern=rf"{BLOCK}mlp\.fc[12]{PARAMETER}", canonical=r"\g<0>"),
        Rule(pattern=rf"{BLOCK}ls([12])\.gamma", canonical=r"\g<0>"),
        Rule(pattern=rf"{BLOCK}gamma_([12])", canonical=r"blocks.\1.ls\2.gamma"),
        Rule(pattern=rf"(norm|head|head_dist){PARAMETER}", canonical=r"\g<0>"),
        Rule(pattern=r"mask_token", dropped="used in training only"),
        Rule(pattern=r"fc_norm\..*", unsupported=NORM_OF_MEAN),
        Rule(
            pattern=r"attn_pool\..*",
            unsupported="attention pooling: the head reads CLS rows or the mean of the patches",
        ),
        Rule(
            pattern=r"reg_token|register_tokens|storage_tokens",
            unsupported=REGISTERS,
        ),
        Rule(
            pattern=rf"{BLOCK}attn\.[qk]_norm\..*",
            unsupported="qk-norm: no LayerNorm between projection and scores",
        ),
        Rule(
            pattern=rf"{BLOCK}(attn|mlp)\.norm\..*",
            unsupported="a LayerNorm inside the branch (sub-LN)",
        ),
        Rule(
            pattern=rf"{BLOCK}mlp\.(w\d+|fc1_[gx])\..*",
            unsupported="SwiGLU: no product of two activations",
        ),
        Rule(
            pattern=r".*(rel_pos|relative_position).*",
            unsupported="relative position bias: nothing is added to the scores",
        ),
        Rule(pattern=r".*rope.*", unsupported="rotary position embedding"),
        Rule(
            pattern=r"patch_embed\.(backbone|conv\d*|proj\.\d+|norm|proj_norm)\..*",
            unsupported="a stem of several layers; patches must be cut and projected once",
        ),
        Rule(
            pattern=r"norm_pre\..*",
            unsupported="a LayerNorm on the embedding: the residual stream starts as it is",
        ),
        Rule(pattern=r"pre_logits\..*", unsupported="a layer between pooling and head"),
    ),
)
"""Q, K and V in one matrix; BEiT and EVA have `attn.q_bias` and `attn.v_bias` beside it."""
