"""ATTENTION in the golden machine: over all keys, or over the kept pairs of lists."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from golden_model.machine_lists import kept_pairs
from golden_model.machine_memory import MachineError, Memories
from golden_model.machine_writes import clear, write_tokens
from golden_model.trace import Writes
from golden_model.units.matmul import matmul_exact
from golden_model.units.requantize import requantize
from golden_model.units.softmax import probabilities, row_scale
from golden_model.units.token_score import attention_score
from spec.assembler import resolve_rows
from spec.formats import ACT, LOGIT, SCORE
from spec.isa import ScoreUse
from spec.registers import Error

__all__ = ["attention"]

Fields = Mapping[str, Any]


def attention(memory: Memories, f: Fields) -> Writes:
    """One ATTENTION in one head group."""
    config = memory.config
    banks, lanes = config.banks, config.lanes
    rows, keys = (resolve_rows(f[name], memory.live) for name in ("queries", "keys"))
    words, head_dim, first = f["head_words"], f["head_dim"], f["first_lane"]
    if keys < 1:
        raise MachineError("no key is left", Error.OPERAND)
    own = np.zeros((words, lanes), np.bool_)
    for word in range(words):
        own[word, first : first + min(lanes, head_dim - word * lanes)] = True

    if memory.sieve["masked"]:
        return _masked_attention(memory, f, rows, keys, own)

    def by_groups(array: NDArray[Any], dtype: type) -> NDArray[Any]:
        return np.pad(array, ((0, 0), (0, -keys % banks))).reshape(-1, banks).astype(dtype)

    query = memory.tokens(f["query"], f["query_stride"], rows, words).view(np.int8)
    key = memory.matrix(f["key"], words, keys, words)
    value = memory.matrix(f["value"], words, keys, words)
    address = memory.token_addresses(f["target"], f["target_stride"], rows, words)
    scores = matmul_exact(query * own.reshape(-1), key.T)
    logits = requantize(scores, 0, f["score_multiplier"], f["score_shift"], LOGIT.low, LOGIT.high)
    logits = clear(memory, logits, memory.sieve["score_threshold"])
    probs = probabilities(logits)
    multiplier, shift = row_scale(
        probs.sum(axis=1, keepdims=True), f["output_multiplier"], f["output_shift"]
    )
    _collect_scores(memory, f["scores"], probs[0])
    probs = clear(memory, probs, memory.sieve["prob_threshold"])
    context = requantize(matmul_exact(probs, value), 0, multiplier, shift, ACT.low, ACT.high)
    context = clear(memory, context * own.reshape(-1), memory.sieve["context_threshold"])
    valued = np.ones_like(probs, np.bool_)
    if memory.sieve["skip_zeros"]:
        valued = probs != 0
        steps = by_groups(valued, np.bool_).reshape(rows, -1, banks).sum(axis=1)
        memory.work.value_steps = steps.max(axis=1)
        memory.work.zero_probs = int((~valued).sum())
    memory.work.scored, memory.work.valued = rows * keys, int(valued.sum())
    tokens = write_tokens(memory, address, context.astype(np.int8), np.tile(own, (rows, 1)))
    return replace(
        tokens,
        scores=by_groups(logits, np.int16),
        score_valid=by_groups(np.ones_like(logits), np.bool_),
        probs=by_groups(probs, np.uint8),
    )


def _masked_attention(
    memory: Memories, f: Fields, rows: int, keys: int, own: NDArray[np.bool_]
) -> Writes:
    """ATTENTION over the kept pairs of lists.

    Scores: the steps of each pair, for either query; probabilities: the steps of a pair for each
    of its live queries.
    """
    config, sieve = memory.config, memory.sieve
    words, banks = f["head_words"], np.arange(config.banks)
    query = memory.tokens(f["query"], f["query_stride"], rows, words).view(np.int8)
    query = (query * own.reshape(-1)).astype(np.int64)
    address = memory.token_addresses(f["target"], f["target_stride"], rows, words)
    pairs = kept_pairs(memory, rows)
    context = np.zeros((rows, words * config.lanes), np.int8)
    scores, score_valid, all_probs = [], [], []
    value_steps, valued, zeros = [], 0, 0
    for count, live in zip(pairs.steps, pairs.queries, strict=True):
        pair_scores = np.zeros((count, config.banks), np.int16)
        pair_valid = np.zeros((count, config.banks), np.bool_)
        for row in live:
            kept, at = pairs.kept[row], pairs.group[row] * words
            inner = at[..., None] + np.arange(words)
            if (f["key"] + inner[kept]).max() >= config.row_words:
                raise MachineError("a key of a list is not there", Error.ROW_ADDRESS)
            inner = np.where(kept[..., None], inner, 0)
            key, value = (
                memory.row[banks[:, None], f[name] + inner].reshape(*kept.shape, -1).view(np.int8)
                for name in ("key", "value")
            )
            raw = requantize(
                (key * query[row]).sum(axis=-1),
                0,
                f["score_multiplier"],
                f["score_shift"],
                LOGIT.low,
                LOGIT.high,
            )
            logits = clear(memory, np.where(kept, raw, 0), sieve["score_threshold"])
            probs = probabilities(logits.reshape(1, -1), kept.reshape(1, -1))
            multiplier, shift = row_scale(probs.sum(), f["output_multiplier"], f["output_shift"])
            probs = clear(memory, probs.reshape(kept.shape), sieve["prob_threshold"])
            used = kept & (probs != 0) if sieve["skip_zeros"] else kept
            acc = (probs[..., None] * value).sum(axis=(0, 1))
            mixed = requantize(acc, 0, multiplier, shift, ACT.low, ACT.high)
            context[row] = clear(memory, mixed * own.reshape(-1), sieve["context_threshold"])
            pair_scores += np.where(kept, logits, 0).astype(np.int16)
            pair_valid |= kept
            all_probs.append(probs.astype(np.uint8))
            value_steps.append(used.sum(axis=0).max())
            valued += int(used.sum())
            zeros += int((kept & ~used).sum())
        if live:
            scores.append(pair_scores)
            score_valid.append(pair_valid)
    work = memory.work
    work.pair_steps = np.array(pairs.steps)
    work.pair_queries = np.array([len(live) for live in pairs.queries])
    work.value_steps = np.array(value_steps)
    work.scored = sum(int(kept.sum()) for kept in pairs.kept)
    work.valued, work.zero_probs, work.masked = valued, zeros, rows * keys - work.scored
    work.list_words = -(-pairs.list_steps * config.banks // config.lanes)
    return replace(
        write_tokens(memory, address, context, np.tile(own, (rows, 1))),
        scores=np.concatenate(scores),
        score_valid=np.concatenate(score_valid),
        probs=np.concatenate(all_probs),
    )


def _collect_scores(memory: Memories, use: ScoreUse, probs: NDArray[np.int64]) -> None:
    """Put the attention of the first query into this head group's scores, or add it."""
    if use == ScoreUse.NONE:
        return
    own = memory.score[: len(probs)]
    share = attention_score(probs[None])
    own[:] = np.minimum(share + (own if use == ScoreUse.ADD else 0), SCORE.high)
