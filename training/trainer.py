"""The state of one training run: steps, evaluation, checkpoints and export."""

from __future__ import annotations

import copy
import json
import math
import os
import pickle
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional

from quantize.float_model import mask_tensors

from .augment import augment, branch_factors
from .datasets import DataSet, Labelled
from .efforts import entropy_pressure
from .errors import TrainingError
from .latency import ratio_loss
from .recipe import FineTuning, Recipe
from .selector import distillation, gumbel_difference
from .sieves import Penalties
from .start import begin, bundled
from .vit import Vit

__all__ = ["EpochRecord", "Trainer"]


@dataclass(frozen=True, kw_only=True)
class EpochRecord:
    """One line of the training history; accuracies are shares of 1."""

    epoch: int
    epochs: int
    learning_rate: float
    train_loss: float
    held_back_top1: float
    seconds: float
    keep: tuple[float, ...] = ()
    """Share of the patches alive behind each stage, over the held-back images."""
    efforts: tuple[float, ...] = ()
    """Top-1 of each effort over the held-back images, if there are several."""


class Trainer:
    """The whole state of one training run."""

    def __init__(
        self,
        recipe: Recipe,
        data: DataSet,
        *,
        compile_model: bool = False,
        dense: dict[str, Tensor] | None = None,
        start: dict[str, Tensor] | None = None,
    ) -> None:
        """A fresh run, or one that starts from other weights.

        dense : parameters of the dense model, needed by a recipe with a `sieve`
        start : parameters to start from, as far as they go; those of the dense model if not given
        """
        self.recipe = recipe
        self.data = data
        self.images = torch.from_numpy(data.train.images.copy())
        self.labels = torch.from_numpy(data.train.labels.astype("int64"))
        self.steps_per_epoch = len(self.labels) // recipe.batch_size
        if not self.steps_per_epoch:
            raise TrainingError(
                f"batch_size {recipe.batch_size} is more than the {len(self.labels)} images"
            )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(recipe.seed)
            self.model = Vit(recipe.model, recipe.nonlinear)
        self.teacher: Vit | None = None
        self.kept: dict[int, NDArray[np.bool_]] = {}
        tuning = recipe.fine_tuning
        if tuning is not None:
            start = self._begin(tuning)
        elif recipe.sieve is not None:
            self.teacher = self._teacher(dense)
        self._start_from(start or dense)
        self.average = copy.deepcopy(self.model).requires_grad_(False)
        self.forward, self.teach = self.model.learn, self.teacher
        if compile_model:
            self.forward = torch.compile(self.forward)
            self.teach = torch.compile(self.teach) if self.teach else None
        self.optimizer = self._make_optimizer()
        self.rng = torch.Generator().manual_seed(recipe.seed)
        self.history: list[EpochRecord] = []

    def _start_from(self, parameters: dict[str, Tensor] | None) -> None:
        """Take over parameters; selectors that are not among them stay as they are."""
        self.model.load_state_dict(parameters or {}, strict=False)

    def _begin(self, tuning: FineTuning) -> dict[str, Tensor]:
        """Take the bundled model as teacher; masks and thresholds; the weights to start from."""
        found = begin(
            tuning.start,
            self.data,
            sparsity=tuning.sparsity,
            mask_images=tuning.mask_images,
            centred=self.recipe.model.thresholds,
        )
        taught = bundled(tuning.teacher) if tuning.teacher else found
        self.teacher = Vit(taught.config, self.recipe.nonlinear).requires_grad_(False)
        self.teacher.load_state_dict(taught.parameters)
        self.kept = found.kept
        kept = [
            torch.from_numpy(found.kept[n]).float() if found.kept else None
            for n in range(self.recipe.model.depth)
        ]
        self.model.set_sieves(kept, dict(tuning.tau))
        return found.parameters

    def _teacher(self, dense: dict[str, Tensor] | None) -> Vit:
        """Make the dense model, which is to be imitated."""
        if dense is None:
            raise TrainingError(f"recipe {self.recipe.name} needs a trained dense model")
        teacher = Vit(replace(self.recipe.model, stages=()), self.recipe.nonlinear)
        try:
            teacher.load_state_dict(dense)
        except RuntimeError as error:
            line = str(error).splitlines()[-1].strip()
            raise TrainingError(f"dense model has another shape: {line}") from None
        return teacher.requires_grad_(False)

    def _make_optimizer(self) -> torch.optim.Optimizer:
        """AdamW; only the weight matrices decay."""
        groups: dict[float, list[Tensor]] = {self.recipe.weight_decay: [], 0.0: []}
        for name, parameter in self.model.named_parameters():
            decays = name.endswith(".weight") and parameter.ndim > 1
            groups[self.recipe.weight_decay if decays else 0.0].append(parameter)
        return torch.optim.AdamW(
            [{"params": params, "weight_decay": decay} for decay, params in groups.items()],
            lr=self.recipe.learning_rate,
            fused=True,
        )

    def learning_rate(self, step: int) -> float:
        """Linear warm-up, then half a cosine down to the final rate."""
        recipe = self.recipe
        warmup = recipe.warmup_epochs * self.steps_per_epoch
        if step < warmup:
            return recipe.learning_rate * (step + 1) / warmup
        done = (step - warmup) / max(1, recipe.epochs * self.steps_per_epoch - warmup)
        span = recipe.learning_rate - recipe.final_learning_rate
        return recipe.final_learning_rate + span * 0.5 * (1 + math.cos(math.pi * done))

    def run_epoch(self) -> EpochRecord:
        """Train on every image once and append to the history."""
        started = time.perf_counter()
        order = torch.randperm(len(self.labels), generator=self.rng)
        batches = order.split(self.recipe.batch_size)[: self.steps_per_epoch]
        first_step = len(self.history) * self.steps_per_epoch
        loss = sum(self._run_step(first_step + i, batch) for i, batch in enumerate(batches))
        found = [
            self.evaluate(self.data.held_back, effort.skipped)
            for effort in self.recipe.model.passes
        ]
        top1, keep = found[-1]
        record = EpochRecord(
            epoch=len(self.history) + 1,
            epochs=self.recipe.epochs,
            learning_rate=self.optimizer.param_groups[0]["lr"],
            train_loss=loss / len(batches),
            held_back_top1=top1,
            seconds=round(time.perf_counter() - started, 2),
            keep=keep,
            efforts=tuple(share for share, _ in found) if len(found) > 1 else (),
        )
        self.history.append(record)
        return record

    def _run_step(self, step: int, batch: Tensor) -> float:
        recipe = self.recipe
        for group in self.optimizer.param_groups:
            group["lr"] = self.learning_rate(step)
        images = self._normalise(self.images[batch])
        images, targets = augment(images, self.labels[batch], recipe, self.rng)
        keep = branch_factors(recipe, len(batch), self.rng)
        noise = self._noise(step, len(batch))
        temperature = recipe.sieve.temperature if recipe.sieve else 1.0
        self.optimizer.zero_grad()
        passes, total = recipe.model.passes, 0.0
        wanted = self._wanted(images)
        for number, effort in reversed(list(enumerate(passes))):
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=recipe.bf16):
                logits, alive, penalties = self.forward(
                    images[:, None], keep, noise, temperature, effort.skipped
                )
            loss = functional.cross_entropy(
                logits.float(), targets, label_smoothing=recipe.label_smoothing
            )
            if wanted is not None:
                loss = self._taught(loss, logits, wanted)
            if recipe.sieve is not None:
                loss = loss + recipe.sieve.ratio_weight * ratio_loss(alive, recipe.sieve.keep)
            if recipe.fine_tuning is not None:
                loss = loss + _penalty(recipe.fine_tuning, penalties, logits, targets)
            loss = loss / len(passes)
            loss.backward()
            total += loss.item()
            if number == len(passes) - 1 and number:
                wanted = logits.detach()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), recipe.gradient_norm)
        self.optimizer.step()
        weight = 1 - min(recipe.ema_decay, (1 + step) / (10 + step))
        with torch.no_grad():
            pairs = zip(self.average.parameters(), self.model.parameters(), strict=True)
            for average, parameter in pairs:
                average.lerp_(parameter, weight)
        return total

    def _noise(self, step: int, n: int) -> Tensor | None:
        """Gumbel noise of the decisions [stages, n, patches], which falls to 0 with the steps."""
        recipe = self.recipe
        if recipe.sieve is None:
            return None
        falling = recipe.sieve.noise_epochs * recipe.epochs * self.steps_per_epoch
        shape = (len(recipe.model.stages), n, recipe.model.patches)
        return gumbel_difference(shape, self.rng) * max(0.0, 1 - step / max(1, falling))

    def _wanted(self, images: Tensor) -> Tensor | None:
        """The teacher's logits. Of several efforts the last imitates it, the others the last."""
        if self.teach is None:
            return None
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=self.recipe.bf16):
            return self.teach(images[:, None])

    def _taught(self, loss: Tensor, logits: Tensor, wanted: Tensor) -> Tensor:
        """The loss by labels, and by the teacher (HeatViT's eq. 18; the keep ratios come after)."""
        source = self.recipe.fine_tuning or self.recipe.sieve
        assert source is not None
        imitation = distillation(logits, wanted)
        return (1 - source.distill_weight) * loss + source.distill_weight * imitation

    def _normalise(self, images: Tensor) -> Tensor:
        return (images.float() / 255 - self.recipe.mean) / self.recipe.std

    @torch.no_grad()
    def evaluate(
        self, split: Labelled, skipped: tuple[int, ...] = (), batch_size: int = 500
    ) -> tuple[float, tuple[float, ...]]:
        """The averaged weights over a split, in float32 and without noise.

        skipped : blocks without attention
        result : the share classified rightly, and of each stage the share of patches alive
        """
        images = torch.from_numpy(split.images.copy()).split(batch_size)
        results = [
            self.average.trace(self._normalise(batch)[:, None], skipped=skipped) for batch in images
        ]
        logits = torch.cat([logits for logits, _ in results])
        alive = torch.cat([alive for _, alive in results], dim=1).mean(dim=(1, 2))
        right = logits.argmax(1) == torch.from_numpy(split.labels.copy())
        return int(right.sum()) / len(split), tuple(round(share, 4) for share in alive.tolist())

    def top1(self, split: Labelled) -> float:
        """Share of a split that the last effort of the averaged weights gets right, in float32."""
        return self.evaluate(split, self.recipe.model.passes[-1].skipped)[0]

    def save_checkpoint(self, path: Path) -> None:
        """Write the whole state so that the file is either the old or the new one."""
        state = {
            "recipe": asdict(self.recipe),
            "model": self.model.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "rng": self.rng.get_state(),
            "history": [asdict(record) for record in self.history],
        }
        partial = path.with_name(path.name + ".partial")
        torch.save(state, partial)
        os.replace(partial, path)

    def load_checkpoint(self, path: Path) -> None:
        """Go on from a checkpoint of the same recipe."""
        try:
            state = torch.load(path, weights_only=True)
        except (OSError, EOFError, RuntimeError, pickle.UnpicklingError) as error:
            raise TrainingError(f"{path}: not a checkpoint: {error}") from None
        if state["recipe"] != asdict(self.recipe):
            raise TrainingError(
                f"{path}: checkpoint of another recipe; delete it or train without --resume"
            )
        self.model.load_state_dict(state["model"])
        self.average.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.rng.set_state(state["rng"])
        self.history = [
            EpochRecord(
                **{**record, "keep": tuple(record["keep"]), "efforts": tuple(record["efforts"])}
            )
            for record in state["history"]
        ]

    def export(self, path: Path) -> dict[str, str]:
        """Write the averaged weights under timm's names; returns the file's metadata."""
        recipe = self.recipe
        metadata = {
            "recipe": json.dumps(asdict(recipe)),
            "config": json.dumps(self._config()),
            "mean": str(recipe.mean),
            "std": str(recipe.std),
            "top1_held_back": str(self.top1(self.data.held_back)),
            "top1_test": str(self.top1(self.data.test)),
            "polynomial": json.dumps(recipe.polynomial),
            "delta1": json.dumps(recipe.delta1),
            "epochs": str(len(self.history)),
            "seed": str(recipe.seed),
            "history": json.dumps([asdict(record) for record in self.history]),
        }
        tensors = dict(self.average.state_dict())
        for name, value in mask_tensors(self.kept).items():
            tensors[name] = torch.from_numpy(value)
        if recipe.fine_tuning is not None:
            metadata["tau"] = json.dumps(dict(recipe.fine_tuning.tau))
        save_file(tensors, path, metadata)
        return metadata

    def _config(self) -> dict[str, object]:
        """The model's shape as its file names it."""
        masks = tuple(int(self.kept[n].sum()) for n in sorted(self.kept))
        return {**asdict(self.recipe.model), "masks": masks}


def _penalty(tuning: FineTuning, penalties: Penalties, logits: Tensor, targets: Tensor) -> Tensor:
    """What fine-tuning adds to the loss, summed over the blocks."""
    loss = tuning.activity_weight * torch.stack(penalties.activity).sum()
    if penalties.reconstruction:
        loss = loss + tuning.reconstruction_weight * torch.stack(penalties.reconstruction).sum()
    if tuning.entropy_weight:
        loss = loss + tuning.entropy_weight * entropy_pressure(logits, targets)
    return loss
