"""Training one set of weights for several efforts (PIVOT)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["entropy_pressure"]


def entropy_pressure(logits: Tensor, targets: Tensor) -> Tensor:
    """PIVOT's entropy regulariser: accuracy of the batch x mean entropy in nats.

    The better the batch is classified, the more certain the model is made of its answers. The
    accuracy has no gradient. PIVOT's code takes 1,000 times the mean of -p log p over 1,000
    classes, which is the same.

    logits : [n, classes]
    targets : [n, classes], class probabilities; the class is the largest
    """
    logits = logits.float()
    with torch.no_grad():
        accuracy = (logits.argmax(1) == targets.argmax(1)).float().mean()
    logs = functional.log_softmax(logits, dim=-1)
    return accuracy * -(logs.exp() * logs).sum(dim=-1).mean()
