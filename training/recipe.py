"""Named training recipes with every hyper-parameter."""

from __future__ import annotations

from dataclasses import dataclass

from .datasets import MEAN, STD
from .errors import TrainingError
from .vit import VitConfig

__all__ = ["RECIPES", "Recipe", "recipe_named"]


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What makes a trained model: its shape, the schedule, and the regularisation."""

    name: str
    model: VitConfig
    seed: int = 0
    epochs: int
    warmup_epochs: int
    batch_size: int = 256
    learning_rate: float
    final_learning_rate: float = 1e-5
    weight_decay: float = 0.05
    gradient_norm: float = 1.0
    ema_decay: float = 0.998
    """Of the averaged weights, per step; these are the ones delivered."""
    label_smoothing: float = 0.0
    drop_path: float = 0.0
    """Probability of dropping a residual branch of the last block; linear from 0 at the first."""
    shift_pixels: int = 0
    flip: float = 0.5
    erase: float = 0.0
    mixup: float = 0.0
    cutmix: float = 0.0
    """`flip`, `erase`, `mixup`, `cutmix`: probabilities per image."""
    bf16: bool = True
    """Matrix products of training in bfloat16; weights and evaluation are float32."""
    mean: float = MEAN
    std: float = STD
    """Pixels enter the model as (p / 255 - mean) / std."""

    def __post_init__(self) -> None:
        if not 0 <= self.warmup_epochs < self.epochs:
            raise TrainingError(
                f"epochs must be more than the {self.warmup_epochs} of warm-up, not {self.epochs}"
            )


RECIPES = {
    recipe.name: recipe
    for recipe in (
        Recipe(
            name="demo",
            model=VitConfig(
                image_size=28,
                patch_size=4,
                embed_dim=64,
                depth=4,
                heads=2,
                mlp_dim=128,
                classes=10,
            ),
            epochs=130,
            warmup_epochs=5,
            learning_rate=2e-3,
            label_smoothing=0.1,
            drop_path=0.05,
            shift_pixels=2,
            erase=0.25,
            mixup=0.1,
            cutmix=0.2,
        ),
        Recipe(
            name="micro",
            model=VitConfig(
                image_size=12,
                patch_size=4,
                embed_dim=16,
                depth=2,
                heads=2,
                mlp_dim=32,
                classes=10,
            ),
            epochs=60,
            warmup_epochs=2,
            learning_rate=4e-3,
            label_smoothing=0.05,
        ),
    )
}


def recipe_named(name: str) -> Recipe:
    """Return the recipe of that name."""
    if name not in RECIPES:
        raise TrainingError(f"recipe must be one of {', '.join(RECIPES)}, not {name!r}")
    return RECIPES[name]
