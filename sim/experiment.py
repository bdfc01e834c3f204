"""Runs a model on simulated Verilog and holds every tensor against the golden model."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compiler import compile, model_digest
from compiler.efforts import first_efforts
from golden_model.expected import expected_tensors
from golden_model.trace import assemble_tensors, live_counts
from perf_model.roofline import network_macs, roofline
from sim.errors import MachineStoppedError, SimulationError
from sim.flip import flip_visible_bit
from sim.machine import Options, Outcome, Simulation
from sim.trace import Difference, compare_tensors
from spec.config import Config
from spec.image import Image
from spec.isa import Opcode
from spec.model_file import Model
from spec.pixels import batch_of, patches_of
from spec.registers import STALLS, Status
from spec.reports import DRAM_KINDS

__all__ = ["Experiment", "check_end", "simulate"]


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """Outcome of a simulation of some images."""

    report: dict[str, Any]
    """See `spec.reports.SIMULATE`."""
    differences: list[list[Difference]]
    """For each image the tensors that differ, in the order of the network."""
    layers: dict[str, int]
    """Cycles of the first image by layer, between the last writes of consecutive layers."""

    flipped_bit: int | None = None
    """The bit that was flipped: the first from the one asked for that changes a tensor."""

    @property
    def agrees(self) -> bool:
        """No element of any tensor differs."""
        return not any(self.differences)


def simulate(
    model: Model,
    name: str,
    config: Config,
    simulator: str,
    images: NDArray[np.uint8],
    options: Options | None = None,
    flip_bit: int | None = None,
    progress: Callable[[str], None] | None = None,
    image: Image | None = None,
    verilog: Callable[[Config], str] | None = None,
) -> Experiment:
    """Compile, emit, build and run; compare every intermediate tensor of every image.

    name : of the model, for the report
    images : uint8 [n, height, width] or [n, channels, height, width]
    flip_bit : number of a weight bit to flip in the DRAM, after the image's digests were checked;
        of the next one if that changes no tensor (see `sim.flip`)
    progress : called with what is being done
    image : the compiled model, if it is compiled already
    verilog : makes the Verilog to simulate, with module `sievit_top`; the emitted one if not given
    Raises `MachineStoppedError` when a run ends in the machine's error state.
    """
    tell = progress or (lambda text: None)
    if image is None:
        tell("compiling")
        image = compile(model, config)
    image.check_config(config)
    if image.model_digest != model_digest(model):
        raise SimulationError(f"the image was compiled from another model than '{name}'")
    pictures = batch_of(images, model.config)
    expected = [expected_tensors(model, picture)[1] for picture in pictures]
    inputs, loaded = patches_of(pictures, model.config), image
    if flip_bit is not None:
        loaded, flip_bit = flip_visible_bit(image, config, flip_bit, inputs, expected)
    tell(f"emitting and building {config.name} for {simulator} (once)")
    machine = Simulation.build(config, simulator, verilog)
    tell(f"simulating {len(pictures)} image{'s' if len(pictures) > 1 else ''}")
    outcomes = machine.run(loaded, list(inputs), options)

    entries, differences = [], []
    for number, outcome in enumerate(outcomes):
        check_end(outcome, image, number)
        assert outcome.writes is not None
        found = assemble_tensors(image, outcome.writes)
        results = compare_tensors(found, expected[number])
        differences.append([result for result in results if result.differing])
        live = [counts[1:] for counts in live_counts(image, outcome.writes)]
        entries.append(_entry(outcome, results, model, image, name, config, simulator, live))
    return Experiment(
        report=_report(entries, config),
        differences=differences,
        layers=_layers(image, outcomes[0]),
        flipped_bit=flip_bit,
    )


def check_end(outcome: Outcome, image: Image, number: int) -> None:
    """Refuse a run that did not end with DONE, or that broke a bus rule."""
    if outcome.status == Status.DONE and not outcome.violations:
        return
    if outcome.violations:
        raise MachineStoppedError(
            f"image {number}: the machine broke AXI rules "
            f"(violations {outcome.violations:#x}, see sim/axi_dram.v)"
        )
    if outcome.ended == "limit":
        raise MachineStoppedError(f"image {number}: no end after {outcome.cycles:,} cycles")
    name = image.names[outcome.error_pc] if outcome.error_pc < len(image.names) else "?"
    raise MachineStoppedError(
        f"image {number}: the machine stopped with error {outcome.error.name} at instruction "
        f"{outcome.error_pc} ({name}) after {outcome.cycles:,} cycles"
    )


def _entry(
    outcome: Outcome,
    results: list[Difference],
    model: Model,
    image: Image,
    name: str,
    config: Config,
    simulator: str,
    lives: list[tuple[int, ...]],
) -> dict[str, Any]:
    """The report of one image; `lives` are the tokens behind each stage of the efforts taken."""
    counters, live = outcome.counters, [count for counts in lives for count in counts]
    taken = first_efforts(model.config, len(lives))
    skipped = {cause: counters[f"macs_skipped_{cause}"] for cause in ("masked", "zero")}
    bound = roofline(taken, config, live, sum(skipped.values()))
    if live:
        dense = network_macs(replace(taken, stages=()))
        skipped["tokens"] = max(dense - network_macs(taken, live), 0)
    assert outcome.logits is not None
    return {
        "model": name,
        "preset": config.name,
        "simulator": simulator,
        "images": 1,
        "tensors_compared": len(results),
        "differing_elements": sum(result.differing for result in results),
        "predictions": [int(outcome.logits.argmax())],
        "cycles": outcome.cycles,
        "array_busy_cycles": counters["array_busy_cycles"],
        "stalls": {cause: counters[f"stall_{cause}_cycles"] for cause in STALLS},
        "macs_done": counters["macs_done"],
        "macs_skipped": skipped,
        "attention_core_cycles": attention_core_cycles(image, outcome.last_write),
        "live": [live],
        "efforts": [len(lives)],
        "dram_bytes": {kind: counters[f"dram_{kind}_bytes"] for kind in DRAM_KINDS},
        "roofline_cycles": bound.cycles,
        "wall_s": outcome.wall_s,
        "counters": counters,
    }


def _report(entries: list[dict[str, Any]], config: Config) -> dict[str, Any]:
    """Sum the entries of all images and derive the ratios, in each and in the total."""
    total = _sum(entries)
    for entry in (total, *entries):
        cycles = entry["cycles"]
        entry["roofline_ratio"] = cycles / entry["roofline_cycles"]
        entry["utilization"] = entry["macs_done"] / (config.macs * cycles)
        entry["simulated_cycles_per_s"] = cycles / max(entry["wall_s"], 1e-9)
    return {**total, "per_image": entries}


def _sum(entries: list[dict[str, Any]]) -> dict[str, Any]:
    """Add up numbers, lists and counts by name; texts are the same in all."""
    total: dict[str, Any] = {}
    for key, first in entries[0].items():
        values = [entry[key] for entry in entries]
        if isinstance(first, str):
            total[key] = first
        elif isinstance(first, dict):
            total[key] = {name: sum(value[name] for value in values) for name in first}
        elif isinstance(first, list):
            total[key] = [item for value in values for item in value]
        else:
            total[key] = sum(values)
    return total


def attention_core_cycles(image: Image, last_write: Mapping[int, int]) -> int:
    """Cycles of scores, softmax and P.V of all heads of the encoder blocks.

    For each head: from the last write of the array's instruction before it to its own.
    """
    results = (Opcode.FULLY_CONNECTED.value, Opcode.ATTENTION.value)
    total = before = 0
    for pc in np.flatnonzero(np.isin(image.program[:, 0], results)).tolist():
        end = last_write.get(pc, before)
        core = image.program[pc, 0] == Opcode.ATTENTION.value
        if core and image.names[pc].endswith(".attn"):
            total += end - before
        before = end
    return total


def _layers(image: Image, outcome: Outcome) -> dict[str, int]:
    """Cycles by layer, in the order in which the layers end."""
    ends: dict[str, int] = {}
    for pc, cycle in outcome.last_write.items():
        ends[image.names[pc]] = max(ends.get(image.names[pc], 0), cycle)
    layers, previous = {}, 0
    for layer, end in sorted(ends.items(), key=lambda item: item[1]):
        layers[layer] = end - previous
        previous = end
    return layers
