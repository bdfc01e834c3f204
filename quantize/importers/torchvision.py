"""torchvision's names, old (`mlp.linear_1`) and new (`mlp.0`)."""

from quantize.importers.dialect import Dialect, Rule

__all__ = ["TORCHVISION"]

PARAMETER = r"(weight|bias)"
BLOCK = r"encoder\.layers\.encoder_layer_(\d+)\."

TORCHVISION = Dialect(
    name="torchvision",
    marks=(r"^encoder\.layers\.encoder_layer_\d+\.", r"^conv_proj\."),
    rules=(
        Rule(pattern="class_token", canonical="cls_token"),
        Rule(pattern=r"encoder\.pos_embedding", canonical="pos_embed"),
        Rule(pattern=rf"conv_proj\.{PARAMETER}", canonical=r"patch_embed.proj.\1"),
        Rule(pattern=rf"{BLOCK}ln_([12])\.{PARAMETER}", canonical=r"blocks.\1.norm\2.\3"),
        Rule(
            pattern=rf"{BLOCK}self_attention\.in_proj_{PARAMETER}",
            canonical=r"blocks.\1.attn.qkv.\2",
        ),
        Rule(
            pattern=rf"{BLOCK}self_attention\.out_proj\.{PARAMETER}",
            canonical=r"blocks.\1.attn.proj.\2",
        ),
        Rule(
            pattern=rf"{BLOCK}mlp\.(?:0|linear_1)\.{PARAMETER}", canonical=r"blocks.\1.mlp.fc1.\2"
        ),
        Rule(
            pattern=rf"{BLOCK}mlp\.(?:3|linear_2)\.{PARAMETER}", canonical=r"blocks.\1.mlp.fc2.\2"
        ),
        Rule(pattern=rf"encoder\.ln\.{PARAMETER}", canonical=r"norm.\1"),
        Rule(pattern=rf"heads\.head\.{PARAMETER}", canonical=r"head.\1"),
        Rule(pattern=r"heads\.pre_logits\..*", unsupported="a layer between CLS and head"),
        Rule(
            pattern=r"conv_proj\.conv_bn_relu.*|conv_proj\..*\..*",
            unsupported="a stem of several layers; patches must be cut and projected once",
        ),
    ),
)
