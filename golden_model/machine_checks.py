"""What the dispatcher refuses before an instruction reaches its queue."""

from collections.abc import Mapping

from golden_model.machine_memory import MachineError
from spec.assembler import Instruction
from spec.config import Config
from spec.formats import NORM, PROB, REQUANTIZE, SELECTOR
from spec.isa import Opcode, Scores, ScoreUse
from spec.registers import Error
from spec.semaphores import CONSUMER_OF, PRODUCER_OF, Semaphore

__all__ = ["check_instruction"]


def check_instruction(instruction: Instruction, config: Config) -> None:
    """Raise `MachineError` for operands no instruction can have and for misused semaphores."""
    if instruction.opcode == Opcode.HEAD_SCALES and config.head_groups == 1:
        raise MachineError("HEAD_SCALES on a machine of one head group", Error.OPCODE)
    built = config.zero_skip or config.attention_masks or config.thresholds
    if instruction.opcode == Opcode.SIEVE and not built:
        raise MachineError("SIEVE on a machine without sieves of its work", Error.OPCODE)
    if instruction.opcode == Opcode.SELECT and not config.token_selector:
        raise MachineError("SELECT on a machine without token_selector", Error.OPCODE)
    if instruction.opcode == Opcode.GATE and not config.effort_gate:
        raise MachineError("GATE on a machine without effort_gate", Error.OPCODE)
    live = instruction.row_limit or any(instruction.fields.get(n) for n in ("live_above", "live"))
    if live and not config.token_selector:
        _refuse("rows that depend on live tokens, on a machine without token_selector")
    check = {
        Opcode.LOAD_WEIGHTS: _check_groups,
        Opcode.FULLY_CONNECTED: _check_fully_connected,
        Opcode.ATTENTION: _check_attention,
        Opcode.NORMALIZE: _check_normalize,
        Opcode.LIVE: _check_live,
        Opcode.SELECT: _check_select,
        Opcode.SIEVE: _check_sieve,
        Opcode.GATE: _check_gate,
    }.get(instruction.opcode)
    if check is not None:
        check(instruction.fields, config)
    rows = instruction.token_wait is not None or instruction.token_signal is not None
    if instruction.opcode in (Opcode.LIVE, Opcode.SELECT) and rows:
        _refuse("a credit a row, of an instruction without rows")
    if instruction.queue is not None:
        _check_semaphores(instruction)


def _refuse(text: str) -> None:
    raise MachineError(text, Error.OPERAND)


def _check_rows(rows: Mapping[str, int], config: Config) -> None:
    if not rows["live"] and not 1 <= rows["count"] <= config.max_tokens:
        _refuse(f"{rows['count']} rows, must be 1..{config.max_tokens}")


def _check_fully_connected(f: Mapping, config: Config) -> None:
    _check_rows(f["rows"], config)
    if not f["depth"]:
        _refuse("depth is 0")
    if not 1 <= f["columns"] <= config.head_groups * config.lanes:
        _refuse(f"{f['columns']} columns, must be 1..{config.head_groups * config.lanes}")
    if f["broadcast"] and not config.token_selector:
        _refuse("broadcast on a machine without token_selector")


def _check_groups(f: Mapping, config: Config) -> None:
    if f["further_groups"] >= config.head_groups:
        _refuse(f"{f['further_groups']} further head groups, there are {config.head_groups - 1}")


def _check_gate(f: Mapping, config: Config) -> None:
    if not f["classes"]:
        _refuse("no classes")
    if f["shift"] > REQUANTIZE.max_shift:
        _refuse(f"shift {f['shift']}, must be 0..{REQUANTIZE.max_shift}")


def _check_attention(f: Mapping, config: Config) -> None:
    _check_groups(f, config)
    _check_rows(f["queries"], config)
    _check_rows(f["keys"], config)
    words, head_dim, first, lanes = f["head_words"], f["head_dim"], f["first_lane"], config.lanes
    if not 1 <= words <= config.max_head_words:
        _refuse(f"{words} words a head, must be 1..{config.max_head_words}")
    if words != -(-head_dim // lanes):
        _refuse(f"a head of {head_dim} channels does not take {words} words of {lanes}")
    if first + min(head_dim, lanes) > lanes:
        _refuse(f"a head of {head_dim} channels from lane {first} on leaves its word")
    if f["scores"] != ScoreUse.NONE and not config.cls_scores:
        _refuse("scores of CLS on a machine without cls_scores")


def _check_normalize(f: Mapping, config: Config) -> None:
    _check_rows(f["rows"], config)
    if not 1 <= f["channels"] <= NORM.max_channels:
        _refuse(f"{f['channels']} LayerNorm channels, must be 1..{NORM.max_channels}")


def _check_live(f: Mapping, config: Config) -> None:
    if not 1 <= f["tokens"] <= config.max_tokens:
        _refuse(f"{f['tokens']} live tokens, must be 1..{config.max_tokens}")


def _check_select(f: Mapping, config: Config) -> None:
    most = min(config.lanes, SELECTOR.max_heads)
    if not f["words"]:
        _refuse("rows of 0 words")
    if f["scores"] == Scores.CLASSIFIER and not 1 <= f["heads"] <= most:
        _refuse(f"{f['heads']} heads of a selection, must be 1..{most}")
    if f["scores"] == Scores.CLS_ATTENTION and not config.cls_scores:
        _refuse("scores of CLS on a machine without cls_scores")


def _check_sieve(f: Mapping, config: Config) -> None:
    thresholds = any(value for name, value in f.items() if name.endswith("threshold"))
    for parameter, used in (
        ("zero_skip", f["skip_zeros"]),
        ("attention_masks", f["masked"] or f["placed"] or f["forget"]),
        ("thresholds", thresholds),
    ):
        if used and not getattr(config, parameter):
            _refuse(f"a SIEVE that needs {parameter}, on a machine without")
    if f["masked"] and not (f["placed"] and f["list_words"]):
        _refuse("lists of kept scores without words, or without places")
    if f["prob_threshold"] == PROB.high:
        _refuse("a threshold that no probability exceeds")


def _check_semaphores(instruction: Instruction) -> None:
    """Only a semaphore's producer gives it, only its consumer takes it."""
    queue = instruction.queue
    assert queue is not None
    given = instruction.signal or instruction.token_signal or instruction.token_wait
    if instruction.opcode in (Opcode.HEAD_SCALES, Opcode.SIEVE) and given:
        name = instruction.opcode.name
        raise MachineError(f"{name} has no rows and gives no credits", Error.SEMAPHORE)
    for verb, allowed, several, single in (
        ("take", CONSUMER_OF, instruction.wait, instruction.token_wait),
        ("give", PRODUCER_OF, instruction.signal, instruction.token_signal),
    ):
        named: list[Semaphore] = [*several, *([] if single is None else [single])]
        for semaphore in sorted(named, key=lambda s: s.value):
            if allowed[semaphore] != queue:
                raise MachineError(
                    f"the {queue.name.lower()} queue cannot {verb} {semaphore.name}",
                    Error.SEMAPHORE,
                )
