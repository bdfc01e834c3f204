"""The state of one training run: steps, evaluation, checkpoints and export."""

from __future__ import annotations

import copy
import json
import math
import os
import pickle
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional

from .augment import augment, branch_factors
from .datasets import DataSet, Labelled
from .errors import TrainingError
from .recipe import Recipe
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


class Trainer:
    """The whole state of one training run."""

    def __init__(self, recipe: Recipe, data: DataSet, *, compile_model: bool = False) -> None:
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
            self.model = Vit(recipe.model)
        self.average = copy.deepcopy(self.model).requires_grad_(False)
        self.forward = torch.compile(self.model) if compile_model else self.model
        self.optimizer = self._make_optimizer()
        self.rng = torch.Generator().manual_seed(recipe.seed)
        self.history: list[EpochRecord] = []

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
        record = EpochRecord(
            epoch=len(self.history) + 1,
            epochs=self.recipe.epochs,
            learning_rate=self.optimizer.param_groups[0]["lr"],
            train_loss=loss / len(batches),
            held_back_top1=self.top1(self.data.held_back),
            seconds=round(time.perf_counter() - started, 2),
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
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=recipe.bf16):
            logits = self.forward(images[:, None], keep)
        loss = functional.cross_entropy(
            logits.float(), targets, label_smoothing=recipe.label_smoothing
        )
        self.optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), recipe.gradient_norm)
        self.optimizer.step()
        weight = 1 - min(recipe.ema_decay, (1 + step) / (10 + step))
        with torch.no_grad():
            pairs = zip(self.average.parameters(), self.model.parameters(), strict=True)
            for average, parameter in pairs:
                average.lerp_(parameter, weight)
        return loss.item()

    def _normalise(self, images: Tensor) -> Tensor:
        return (images.float() / 255 - self.recipe.mean) / self.recipe.std

    @torch.no_grad()
    def top1(self, split: Labelled, batch_size: int = 500) -> float:
        """Share of a split that the averaged weights classify rightly, in float32."""
        images = torch.from_numpy(split.images.copy()).split(batch_size)
        logits = torch.cat([self.average(self._normalise(batch)[:, None]) for batch in images])
        right = logits.argmax(1) == torch.from_numpy(split.labels.copy())
        return int(right.sum()) / len(split)

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
        self.history = [EpochRecord(**record) for record in state["history"]]

    def export(self, path: Path) -> dict[str, str]:
        """Write the averaged weights under timm's names; returns the file's metadata."""
        recipe = self.recipe
        metadata = {
            "recipe": json.dumps(asdict(recipe)),
            "config": json.dumps(asdict(recipe.model)),
            "mean": str(recipe.mean),
            "std": str(recipe.std),
            "top1_held_back": str(self.top1(self.data.held_back)),
            "top1_test": str(self.top1(self.data.test)),
            "epochs": str(len(self.history)),
            "seed": str(recipe.seed),
            "history": json.dumps([asdict(record) for record in self.history]),
        }
        save_file(self.average.state_dict(), path, metadata)
        return metadata
