"""Named training recipes with every hyper-parameter."""

from __future__ import annotations

from dataclasses import dataclass, replace

from spec.efforts import Effort
from spec.model_config import THRESHOLDS, Stage

from .datasets import MEAN, STD
from .errors import TrainingError
from .nonlinear import Nonlinear
from .vit import VitConfig

__all__ = ["RECIPES", "FineTuning", "Recipe", "Sieve", "recipe_named"]


@dataclass(frozen=True, kw_only=True)
class Sieve:
    """How the token selectors of a model are learnt, from a trained dense model."""

    dense: str = ""
    """The recipe of the model from which it starts, and which it is to imitate; not needed where
    `FineTuning` says that."""
    keep: tuple[float, ...]
    """For each stage, the share of all patches still alive behind it, on average over images."""
    ratio_weight: float = 2.0
    """Of the squared differences from `keep` in the loss."""
    distill_weight: float = 0.5
    """Of the teacher's class probabilities in the loss; the labels have the rest."""
    temperature: float = 1.0
    """Of the backward pass of a decision."""
    noise_epochs: float = 0.6
    """Share of the schedule over which the Gumbel noise falls to nothing; then decisions are those
    of evaluation."""

    def __post_init__(self) -> None:
        if any(not 0 < share <= 1 for share in self.keep):
            raise TrainingError(f"keep must be shares in 0..1, not {list(self.keep)}")
        if any(a < b for a, b in zip(self.keep, self.keep[1:], strict=False)):
            raise TrainingError(f"keep must not grow from stage to stage: {list(self.keep)}")


@dataclass(frozen=True, kw_only=True)
class FineTuning:
    """What a bundled model is trained on to do without."""

    start: str
    """The bundled model from whose weights it starts, and which it is to imitate."""
    teacher: str = ""
    """Another bundled model to imitate, for pictures of the same size."""
    distill_weight: float = 0.5
    """Of the class probabilities of the teacher in the loss; the labels have the rest."""
    sparsity: float = 0.0
    """Of the masks, made from the attention of `start`; 0: no masks."""
    mask_images: int = 2_000
    """Training images over which that attention is averaged, from the first."""
    tau: tuple[tuple[str, float], ...] = ()
    """Thresholds by tensor, see `quantize.thresholds`; none for what is not named."""
    activity_weight: float = 0.0
    """Of the mean output of the MLPs' activation function in the loss."""
    reconstruction_weight: float = 1e-4
    """Of the distances that the auto-encoder leaves (ViTCoD)."""
    entropy_weight: float = 0.0
    """Of accuracy x entropy of each effort in the loss (PIVOT)."""

    def __post_init__(self) -> None:
        if not 0 <= self.sparsity < 1:
            raise TrainingError(f"sparsity must be at least 0 and below 1, not {self.sparsity}")
        for name, value in self.tau:
            if name not in THRESHOLDS or value < 0:
                raise TrainingError(f"tau: {name} {value} is no threshold")


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
    polynomial: bool = False
    """Train with HeatViT's polynomial GELU and softmax."""
    delta1: float = 1.0
    """Of the polynomial GELU; 1 for what the machine computes, true GELU."""
    sieve: Sieve | None = None
    fine_tuning: FineTuning | None = None

    @property
    def nonlinear(self) -> Nonlinear:
        """The activation functions to train with."""
        return Nonlinear(polynomial=self.polynomial, delta1=self.delta1)

    def __post_init__(self) -> None:
        _ = self.nonlinear
        stages, targets = len(self.model.stages), len(self.sieve.keep) if self.sieve else 0
        if stages != targets:
            raise TrainingError(f"sieve.keep must have a share for each of {stages} stages")
        if self.model.thresholds != bool(self.fine_tuning and self.fine_tuning.tau):
            raise TrainingError("thresholds of the model need fine_tuning.tau, and no others do")
        if self.model.efforts and not self.fine_tuning:
            raise TrainingError("efforts need fine_tuning")
        if not 0 <= self.warmup_epochs < self.epochs:
            raise TrainingError(
                f"epochs must be more than the {self.warmup_epochs} of warm-up, not {self.epochs}"
            )


def _stages(*blocks: int) -> tuple[Stage, ...]:
    return tuple(Stage(block=block, rule="selector") for block in blocks)


def _efforts(*skipped: tuple[int, ...]) -> tuple[Effort, ...]:
    return tuple(Effort(skipped=blocks) for blocks in skipped)


DEMO = VitConfig(
    image_size=28, patch_size=4, embed_dim=64, depth=4, heads=2, mlp_dim=128, classes=10
)
DEEP = replace(DEMO, depth=8)
SMALL = replace(DEMO, embed_dim=32, mlp_dim=64)
MICRO = VitConfig(
    image_size=12, patch_size=4, embed_dim=16, depth=2, heads=2, mlp_dim=32, classes=10
)
MICRO_DEEP = replace(MICRO, depth=4)

_TUNED = Recipe(
    name="demo",
    model=DEMO,
    epochs=2,
    warmup_epochs=0,
    learning_rate=6e-4,
    shift_pixels=2,
    erase=0.1,
    mixup=0.1,
    cutmix=0.1,
)
"""What recipes of the demo's size have in common."""

RECIPES = {
    recipe.name: recipe
    for recipe in (
        replace(
            _TUNED,
            epochs=130,
            warmup_epochs=5,
            learning_rate=2e-3,
            label_smoothing=0.1,
            drop_path=0.05,
            erase=0.25,
            cutmix=0.2,
        ),
        Recipe(
            name="demo-small",
            model=SMALL,
            epochs=60,
            warmup_epochs=3,
            learning_rate=4e-3,
            label_smoothing=0.05,
            shift_pixels=1,
        ),
        replace(
            _TUNED,
            name="demo-deep",
            model=DEEP,
            epochs=48,
            warmup_epochs=3,
            learning_rate=2e-3,
            label_smoothing=0.1,
            drop_path=0.05,
        ),
        Recipe(
            name="demo-tokens",
            model=replace(DEEP, stages=_stages(2, 4, 6)),
            epochs=7,
            warmup_epochs=1,
            learning_rate=6e-4,
            shift_pixels=1,
            sieve=Sieve(dense="demo-deep", keep=(0.55, 0.30, 0.15)),
        ),
        replace(
            _TUNED,
            name="demo-relu",
            model=replace(DEMO, activation="relu"),
            fine_tuning=FineTuning(start="demo", activity_weight=0.05),
        ),
        replace(
            _TUNED,
            name="demo-masks",
            fine_tuning=FineTuning(start="demo", sparsity=0.8, mask_images=500),
        ),
        Recipe(
            name="demo-all",
            model=replace(DEEP, activation="relu", stages=_stages(2, 4, 6), thresholds=True),
            epochs=2,
            warmup_epochs=0,
            learning_rate=5e-4,
            shift_pixels=1,
            sieve=Sieve(keep=(0.55, 0.30, 0.15)),
            fine_tuning=FineTuning(
                start="demo-tokens",
                sparsity=0.8,
                mask_images=500,
                tau=tuple({**dict.fromkeys(THRESHOLDS, 0.1), "proj": 0.02, "fc2": 0.02}.items()),
                activity_weight=0.02,
            ),
        ),
        replace(
            _TUNED,
            name="demo-effort",
            model=replace(DEEP, efforts=_efforts((0, 2, 3, 5, 6), ())),
            epochs=11,
            warmup_epochs=1,
            learning_rate=1e-3,
            fine_tuning=FineTuning(start="demo-deep", teacher="demo", entropy_weight=0.05),
        ),
        replace(
            _TUNED,
            name="demo-coded",
            model=replace(DEMO, auto_encoder=1),
            epochs=3,
            fine_tuning=FineTuning(start="demo"),
        ),
        Recipe(
            name="micro",
            model=MICRO,
            epochs=60,
            warmup_epochs=2,
            learning_rate=4e-3,
            label_smoothing=0.05,
        ),
        Recipe(
            name="micro-deep",
            model=MICRO_DEEP,
            epochs=3,
            warmup_epochs=2,
            learning_rate=4e-3,
            label_smoothing=0.05,
        ),
        Recipe(
            name="micro-tokens",
            model=replace(MICRO_DEEP, stages=_stages(1, 2, 3)),
            epochs=3,
            warmup_epochs=1,
            learning_rate=2e-3,
            sieve=Sieve(dense="micro-deep", keep=(0.75, 0.5, 0.3)),
        ),
        Recipe(
            name="micro-relu",
            model=replace(MICRO, activation="relu"),
            epochs=4,
            warmup_epochs=1,
            learning_rate=3e-3,
            fine_tuning=FineTuning(start="micro", activity_weight=0.05),
        ),
        Recipe(
            name="micro-masks",
            model=MICRO,
            epochs=4,
            warmup_epochs=1,
            learning_rate=3e-3,
            fine_tuning=FineTuning(start="micro", sparsity=0.6),
        ),
        Recipe(
            name="micro-effort",
            model=replace(MICRO, efforts=_efforts((0,), ())),
            epochs=6,
            warmup_epochs=1,
            learning_rate=3e-3,
            fine_tuning=FineTuning(start="micro", entropy_weight=0.05),
        ),
        Recipe(
            name="micro-coded",
            model=replace(MICRO, auto_encoder=1),
            epochs=4,
            warmup_epochs=1,
            learning_rate=3e-3,
            fine_tuning=FineTuning(start="micro"),
        ),
        Recipe(
            name="micro-all",
            model=replace(MICRO_DEEP, activation="relu", stages=_stages(1, 2, 3), thresholds=True),
            epochs=2,
            warmup_epochs=1,
            learning_rate=3e-3,
            sieve=Sieve(keep=(0.75, 0.5, 0.3)),
            fine_tuning=FineTuning(
                start="micro-tokens",
                sparsity=0.5,
                tau=tuple(dict.fromkeys(THRESHOLDS, 0.05).items()),
                activity_weight=0.05,
            ),
        ),
    )
}


def recipe_named(name: str) -> Recipe:
    """Return the recipe of that name."""
    if name not in RECIPES:
        raise TrainingError(f"recipe must be one of {', '.join(RECIPES)}, not {name!r}")
    return RECIPES[name]
