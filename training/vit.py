"""The float vision transformer: plain, pre-norm, with timm's parameter names."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional

from spec.efforts import Effort
from spec.formats import SELECTOR
from spec.model_config import ModelConfig, ModelFileError, Stage

from .attention import Attention
from .errors import TrainingError
from .nonlinear import Nonlinear
from .selector import Noise, Rows, TokenSelector, select
from .sieves import HeadCode, Penalties, Tau, cleared

__all__ = ["Vit", "VitConfig"]

NORM_EPSILON = 1e-6
ACTIVATIONS = ("gelu", "relu")
PREFIX = 1  # CLS, which is never scored


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
    stages: tuple[Stage, ...] = ()
    """Selections of tokens; `package` and `packages` as in `ModelConfig`."""
    package: str = "weighted"
    packages: str = "merged"
    thresholds: bool = False
    """Small values become 0 (DynaTran), as `Vit.tau` says."""
    auto_encoder: int = 0
    """Heads that Q and K are compressed to; 0: they are not."""
    efforts: tuple[Effort, ...] = ()
    """Passes of the network, as in `ModelConfig`."""

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            optional = isinstance(value, bool) or name == "auto_encoder"
            if isinstance(value, int) and not optional and value < 1:
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
        try:
            ModelConfig.from_json(json.dumps(asdict(self)), where="model")
        except ModelFileError as error:
            raise TrainingError(str(error)) from None

    @property
    def passes(self) -> tuple[Effort, ...]:
        """The efforts, at least one."""
        return self.efforts or (Effort(),)

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


class Mlp(nn.Module):
    """Two linear layers with the activation between them."""

    def __init__(self, config: VitConfig, nonlinear: Nonlinear) -> None:
        super().__init__()
        self.fc1 = nn.Linear(config.embed_dim, config.mlp_dim)
        self.act = nonlinear.activation(config.activation)
        self.fc2 = nn.Linear(config.mlp_dim, config.embed_dim)
        self.tau: Tau = {}

    def forward(self, x: Tensor, penalties: Penalties | None = None) -> Tensor:
        """[n, tokens, embed_dim] -> the same shape."""
        hidden = self.act(cleared(self.fc1(x), self.tau.get("fc1", 0)))
        if penalties is not None:
            penalties.activity.append(hidden.float().mean())
        return cleared(self.fc2(hidden), self.tau.get("fc2", 0))


class Block(nn.Module):
    """Pre-norm encoder block: attention and MLP, each added to its input."""

    def __init__(self, config: VitConfig, nonlinear: Nonlinear) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(config.embed_dim, eps=NORM_EPSILON)
        self.attn = Attention(config.embed_dim, config.heads, config.auto_encoder, nonlinear)
        self.norm2 = nn.LayerNorm(config.embed_dim, eps=NORM_EPSILON)
        self.mlp = Mlp(config, nonlinear)

    def forward(
        self,
        x: Tensor,
        keep_attn: Tensor | None = None,
        keep_mlp: Tensor | None = None,
        live: Tensor | None = None,
        penalties: Penalties | None = None,
        attends: bool = True,
    ) -> tuple[Tensor, Tensor]:
        """[n, tokens, embed_dim] -> the same shape; `keep_*` scale the branches per image.

        Also returns what CLS attends to [n, tokens]. `live` as in `Attention`. With `attends`
        false, only the MLP is there.
        """
        attended = x.new_zeros(0)
        if attends:
            attn, attended = self.attn(self.norm1(x), live, penalties)
            x = x + (attn if keep_attn is None else attn * keep_attn)
        mlp = self.mlp(self.norm2(x), penalties)
        return x + (mlp if keep_mlp is None else mlp * keep_mlp), attended


class Vit(nn.Module):
    """Vision transformer whose `state_dict` is that of timm's `VisionTransformer`.

    A stage with the rule `selector` adds the parameters of `blocks.N.selector`.
    """

    def __init__(self, config: VitConfig, nonlinear: Nonlinear | None = None) -> None:
        super().__init__()
        nonlinear = nonlinear or Nonlinear()
        self.config = config
        self.cls_token = nn.Parameter(torch.zeros(1, 1, config.embed_dim))
        self.pos_embed = nn.Parameter(torch.zeros(1, config.tokens, config.embed_dim))
        self.patch_embed = PatchEmbed(config)
        self.blocks = nn.ModuleList(Block(config, nonlinear) for _ in range(config.depth))
        self.norm = nn.LayerNorm(config.embed_dim, eps=NORM_EPSILON)
        self.head = nn.Linear(config.embed_dim, config.classes)
        self._initialise()
        for stage in config.stages:
            if stage.rule == "selector":
                selector = TokenSelector(config.embed_dim, config.heads)
                selector.act = nonlinear.activation("gelu")
                selector.initialise()
                self.blocks[stage.block].add_module("selector", selector)

        for module in self.modules():
            if isinstance(module, HeadCode):
                module.initialise()

    def set_sieves(self, kept: Sequence[Tensor | None], tau: Tau) -> None:
        """Fix what is left out: masks and thresholds, neither of which is learnt.

        kept : of each block the kept scores [heads, tokens, tokens], 0 or 1, or nothing
        tau : thresholds of all blocks by tensor, as in `quantize.thresholds`
        """
        for block, scores in zip(self.blocks, kept, strict=True):
            attn, mlp = block.get_submodule("attn"), block.get_submodule("mlp")
            assert isinstance(attn, Attention)
            assert isinstance(mlp, Mlp)
            attn.kept = scores
            attn.tau = mlp.tau = tau

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
        return self.trace(images, keep)[0]

    def trace(
        self,
        images: Tensor,
        keep: Tensor | None = None,
        logistic: Tensor | None = None,
        temperature: float = 1.0,
        skipped: tuple[int, ...] = (),
    ) -> tuple[Tensor, Tensor]:
        """Class logits, and which patches are alive after each stage; see `learn`."""
        return self.learn(images, keep, logistic, temperature, skipped)[:2]

    def learn(
        self,
        images: Tensor,
        keep: Tensor | None = None,
        logistic: Tensor | None = None,
        temperature: float = 1.0,
        skipped: tuple[int, ...] = (),
    ) -> tuple[Tensor, Tensor, Penalties]:
        """Class logits, which patches are alive after each stage, and penalties.

        logistic : [stages, n, patches], noise of the decisions; none in evaluation
        skipped : blocks without attention
        result : [n, classes]; [stages, n, patches], 0 or 1; and what the loss may count
        """
        x = self.patch_embed(images)
        x = torch.cat([self.cls_token.expand(len(x), -1, -1), x], dim=1) + self.pos_embed
        stages = {stage.block: (number, stage) for number, stage in enumerate(self.config.stages)}
        rows = Rows(x=x, live=x.new_ones(x.shape[:2]), packages=0)
        alive: list[Tensor] = []
        attended = x.new_zeros(0)
        penalties = Penalties()
        for i, block in enumerate(self.blocks):
            if i in stages:
                number, stage = stages[i]
                noise = None
                if logistic is not None:
                    noise = Noise(logistic=logistic[number], temperature=temperature)
                rows = self._select(rows, stage, attended, noise)
                alive.append(rows.live[:, PREFIX : self.config.tokens])
            branches = (None, None) if keep is None else (keep[2 * i], keep[2 * i + 1])
            x, attended = block(
                rows.x,
                *branches,
                live=rows.live if alive else None,
                penalties=penalties,
                attends=i not in skipped,
            )
            rows = replace(rows, x=x)
        logits = self.head(self.norm(rows.x[:, 0]))
        none = x.new_zeros(0, len(x), self.config.patches)
        return logits, torch.stack(alive) if alive else none, penalties

    def _select(self, rows: Rows, stage: Stage, attended: Tensor, noise: Noise | None) -> Rows:
        """One selection before a block; the scores come from the block's selector or from CLS."""
        block = self.blocks[stage.block]
        if stage.rule == "selector":
            normal = block.get_submodule("norm1")(rows.x)
            scores = block.get_submodule("selector")(normal[:, PREFIX:], rows.live[:, PREFIX:])
        else:
            scores = attended[:, PREFIX:].float()
        return select(
            rows,
            scores,
            prefix=PREFIX,
            threshold=stage.threshold / (1 << SELECTOR.score_bits),
            package=self.config.package,
            packages=self.config.packages,
            noise=noise,
        )
