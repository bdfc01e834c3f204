"""The float vision transformer: plain, pre-norm, with timm's parameter names."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from .errors import TrainingError

__all__ = ["Vit", "VitConfig"]

NORM_EPSILON = 1e-6
ACTIVATIONS = {"gelu": nn.GELU, "relu": nn.ReLU}


@dataclass(frozen=True, kw_only=True)
class VitConfig:
    """Shape of a vision transformer with square images and square patches."""

    image_size: int
    patch_size: int
    channels: int = 1
    embed_dim: int
    depth: int
    heads: int
    mlp_dim: int
    classes: int
    activation: str = "gelu"

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if name != "activation" and value < 1:
                raise TrainingError(f"{name} must be at least 1, not {value}")
        if self.activation not in ACTIVATIONS:
            names = " or ".join(ACTIVATIONS)
            raise TrainingError(f"activation must be {names}, not {self.activation!r}")
        if self.image_size % self.patch_size:
            raise TrainingError(
                f"image_size must be a multiple of patch_size {self.patch_size}, "
                f"not {self.image_size}"
            )
        if self.embed_dim % self.heads:
            raise TrainingError(
                f"embed_dim must be a multiple of heads {self.heads}, not {self.embed_dim}"
            )

    @property
    def patches(self) -> int:
        """Patches in an image."""
        return (self.image_size // self.patch_size) ** 2

    @property
    def tokens(self) -> int:
        """Tokens of the sequence: the patches and CLS."""
        return self.patches + 1

    @property
    def head_dim(self) -> int:
        """Dimensions of one attention head."""
        return self.embed_dim // self.heads


class PatchEmbed(nn.Module):
    """Cuts an image into patches and projects each to `embed_dim`."""

    def __init__(self, config: VitConfig) -> None:
        super().__init__()
        self.proj = nn.Conv2d(
            config.channels, config.embed_dim, config.patch_size, stride=config.patch_size
        )

    def forward(self, images: Tensor) -> Tensor:
        """[n, channels, height, width] -> [n, patches, embed_dim], as one matrix product.

        The result is that of the convolution; without overlap the product is the faster way.
        """
        n, channels, height, width = images.shape
        size = self.proj.kernel_size[0]
        grid = images.view(n, channels, height // size, size, width // size, size)
        patches = grid.permute(0, 2, 4, 1, 3, 5).reshape(n, -1, channels * size * size)
        return functional.linear(patches, self.proj.weight.flatten(1), self.proj.bias)


class Attention(nn.Module):
    """Multi-head self-attention over all tokens."""

    def __init__(self, config: VitConfig) -> None:
        super().__init__()
        self.heads = config.heads
        self.qkv = nn.Linear(config.embed_dim, 3 * config.embed_dim)
        self.proj = nn.Linear(config.embed_dim, config.embed_dim)

    def forward(self, x: Tensor) -> Tensor:
        """[n, tokens, embed_dim] -> the same shape; softmax is scaled by 1 / sqrt(head_dim)."""
        n, tokens, dim = x.shape
        qkv = self.qkv(x).view(n, tokens, 3, self.heads, dim // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        # Written out: at this few tokens the CPU runs it faster than torch's fused attention.
        weights = (q * q.shape[-1] ** -0.5 @ k.transpose(-2, -1)).softmax(-1)
        return self.proj((weights @ v).transpose(1, 2).reshape(n, tokens, dim))


class Mlp(nn.Module):
    """Two linear layers with the activation between them."""

    def __init__(self, config: VitConfig) -> None:
        super().__init__()
        self.fc1 = nn.Linear(config.embed_dim, config.mlp_dim)
        self.act = ACTIVATIONS[config.activation]()
        self.fc2 = nn.Linear(config.mlp_dim, config.embed_dim)

    def forward(self, x: Tensor) -> Tensor:
        """[n, tokens, embed_dim] -> the same shape."""
        return self.fc2(self.act(self.fc1(x)))


class Block(nn.Module):
    """Pre-norm encoder block: attention and MLP, each added to its input."""

    def __init__(self, config: VitConfig) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(config.embed_dim, eps=NORM_EPSILON)
        self.attn = Attention(config)
        self.norm2 = nn.LayerNorm(config.embed_dim, eps=NORM_EPSILON)
        self.mlp = Mlp(config)

    def forward(self, x: Tensor, keep_attn: Tensor | None, keep_mlp: Tensor | None) -> Tensor:
        """[n, tokens, embed_dim] -> the same shape; `keep_*` scale the branches per image."""
        attn = self.attn(self.norm1(x))
        x = x + (attn if keep_attn is None else attn * keep_attn)
        mlp = self.mlp(self.norm2(x))
        return x + (mlp if keep_mlp is None else mlp * keep_mlp)


class Vit(nn.Module):
    """Vision transformer whose `state_dict` is that of timm's `VisionTransformer`."""

    def __init__(self, config: VitConfig) -> None:
        super().__init__()
        self.config = config
        self.cls_token = nn.Parameter(torch.zeros(1, 1, config.embed_dim))
        self.pos_embed = nn.Parameter(torch.zeros(1, config.tokens, config.embed_dim))
        self.patch_embed = PatchEmbed(config)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.depth))
        self.norm = nn.LayerNorm(config.embed_dim, eps=NORM_EPSILON)
        self.head = nn.Linear(config.embed_dim, config.classes)
        self._initialise()

    def _initialise(self) -> None:
        nn.init.normal_(self.cls_token, std=0.02)
        nn.init.trunc_normal_(self.pos_embed, std=0.02)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)

    def forward(self, images: Tensor, keep: Tensor | None = None) -> Tensor:
        """Class logits of a batch.

        images : float [n, channels, image_size, image_size]
        keep : float [2 * depth, n, 1, 1], factors of the residual branches (stochastic depth)
        """
        x = self.patch_embed(images)
        x = torch.cat([self.cls_token.expand(len(x), -1, -1), x], dim=1) + self.pos_embed
        for i, block in enumerate(self.blocks):
            branches = (None, None) if keep is None else (keep[2 * i], keep[2 * i + 1])
            x = block(x, *branches)
        return self.head(self.norm(x[:, 0]))
