"""Named architectures, as numbers only, and random weights for them.

Names and numbers are those of timm 1.0 (and of torchvision, `vit_b_16` and `vit_b_32`).
"""

import hashlib
import math
from dataclasses import dataclass, replace
from difflib import get_close_matches

import numpy as np
from numpy.typing import NDArray

from quantize.errors import QuantizeError
from quantize.float_model import FloatModel
from spec.model_config import ModelConfig, float_shapes

__all__ = ["ARCHITECTURES", "Architecture", "architecture", "random_weights"]

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
HALF = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
INIT_STD = 0.02
CLS_STD = 1e-6
SCALE_RANGE = (0.05, 1.0)
"""LayerScale of random weights. timm starts at 1e-5, which would silence every block."""


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """A plain ViT of 64 channels a head and an MLP four times as wide as the residual stream."""

    embed_dim: int
    patch_size: int
    depth: int = 12
    image_size: int = 224
    classes: int = 1000
    """0: no head; the outputs are the channels of the normalised CLS row."""
    normalisation: tuple[tuple[float, ...], tuple[float, ...]] = IMAGENET
    """Mean and std of pixels in 0..1."""
    layer_scale: bool = False
    class_token: bool = True
    distilled: bool = False
    """A distillation token behind CLS, and a head for it."""

    @property
    def pooling(self) -> str:
        """What the head reads, as `ModelConfig` names it: without CLS the mean of the patches."""
        return "distilled" if self.distilled else "token" if self.class_token else "mean"

    @property
    def heads(self) -> int:
        """Attention heads."""
        return self.embed_dim // 64

    @property
    def config(self) -> ModelConfig:
        """The model's shape."""
        return ModelConfig(
            image_size=self.image_size,
            patch_size=self.patch_size,
            channels=len(self.normalisation[0]),
            embed_dim=self.embed_dim,
            depth=self.depth,
            heads=self.heads,
            head_dim=64,
            mlp_dim=4 * self.embed_dim,
            classes=self.classes or self.embed_dim,
            activation="gelu",
            class_token=self.class_token,
            distillation_token=self.distilled,
            pooling=self.pooling,
        )


ARCHITECTURES = {
    "deit_tiny_patch16_224": Architecture(embed_dim=192, patch_size=16),
    "deit_small_patch16_224": Architecture(embed_dim=384, patch_size=16),
    "deit_base_patch16_224": Architecture(embed_dim=768, patch_size=16),
    "deit_tiny_distilled_patch16_224": Architecture(embed_dim=192, patch_size=16, distilled=True),
    "deit_small_distilled_patch16_224": Architecture(embed_dim=384, patch_size=16, distilled=True),
    "deit_base_distilled_patch16_224": Architecture(embed_dim=768, patch_size=16, distilled=True),
    "vit_tiny_patch16_224": Architecture(embed_dim=192, patch_size=16, normalisation=HALF),
    "vit_small_patch16_224": Architecture(embed_dim=384, patch_size=16, normalisation=HALF),
    "vit_base_patch16_224": Architecture(embed_dim=768, patch_size=16, normalisation=HALF),
    "vit_small_patch14_dinov2": Architecture(
        embed_dim=384, patch_size=14, classes=0, layer_scale=True
    ),
    "vit_base_patch14_dinov2": Architecture(
        embed_dim=768, patch_size=14, classes=0, layer_scale=True
    ),
    "vit_medium_patch16_gap_240": Architecture(
        embed_dim=512,
        patch_size=16,
        image_size=240,
        classes=11821,
        normalisation=HALF,
        layer_scale=True,
        class_token=False,
    ),
    "vit_medium_patch16_gap_256": Architecture(
        embed_dim=512,
        patch_size=16,
        image_size=256,
        normalisation=HALF,
        layer_scale=True,
        class_token=False,
    ),
    "vit_b_16": Architecture(embed_dim=768, patch_size=16),
    "vit_b_32": Architecture(embed_dim=768, patch_size=32),
}
"""At timm's image sizes, but the DINOv2 ones at 224, where timm's default is 518."""


def architecture(name: str, image_size: int | None = None) -> Architecture:
    """Look a name up, perhaps with another image size; the error has the nearest names."""
    if name not in ARCHITECTURES:
        near = ", ".join(get_close_matches(name, ARCHITECTURES, n=3, cutoff=0))
        raise QuantizeError(
            f"no architecture '{name}'; the nearest are {near} (all: sievit import --model '?')"
        )
    found = ARCHITECTURES[name]
    return found if image_size is None else replace(found, image_size=image_size)


def random_weights(name: str, seed: int = 0, image_size: int | None = None) -> FloatModel:
    """Seeded random weights with the statistics that timm initialises with.

    Linear weights and position embedding: normal of std 0.02 (timm truncates at 100 sigma), the
    CLS token 1e-6, patch embedding uniform within 1/sqrt(inputs), biases 0, LayerNorm 1 and 0.
    LayerScale, where the architecture has it, is uniform in 0.05..1 and folded in. A missing head
    is the identity.
    """
    described = architecture(name, image_size)
    config = described.config
    parameters: dict[str, NDArray[np.floating]] = {}
    for key, shape in float_shapes(config).items():
        # A stream of its own for each tensor: another depth or head leaves the others alone.
        digest = hashlib.sha256(f"{seed} {key}".encode()).digest()
        rng = np.random.default_rng(int.from_bytes(digest[:8], "little"))
        parameters[key] = _initial(rng, key, shape, config)
        if described.layer_scale and key.endswith(("attn.proj.weight", "mlp.fc2.weight")):
            parameters[key] *= rng.uniform(*SCALE_RANGE, (shape[0], 1)).astype(np.float32)
    if not described.classes:
        parameters["head.weight"] = np.eye(config.embed_dim, dtype=np.float32)
    mean, std = described.normalisation
    return FloatModel(
        config=config,
        parameters=parameters,
        mean=mean,
        std=std,
        provenance={"source": f"{name}, random weights", "seed": str(seed)},
    )


def _initial(
    rng: np.random.Generator, key: str, shape: tuple[int, ...], config: ModelConfig
) -> NDArray[np.float32]:
    if key.startswith("patch_embed"):
        bound = 1 / math.sqrt(config.patch_dim)
        return rng.uniform(-bound, bound, shape).astype(np.float32)
    if "norm" in key:
        return np.full(shape, float(key.endswith("weight")), np.float32)
    if key.endswith("bias"):
        return np.zeros(shape, np.float32)
    std = CLS_STD if key == "cls_token" else INIT_STD
    return rng.standard_normal(shape, np.float32) * np.float32(std)
