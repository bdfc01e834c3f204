"""What counts, why the array stands still, and what is a sign of life."""

from typing import TYPE_CHECKING

from amaranth.hdl import Cat, Const, Module, Mux, Signal

from rtl_gen.sequencer.stall_monitor import ARRAY_STATE
from spec.config import Config
from spec.registers import STALLS
from spec.semaphores import Queue

if TYPE_CHECKING:
    from rtl_gen.core import Core

__all__ = ["connect_events", "counter_sizes"]


def counter_sizes(config: Config) -> dict[str, int]:
    """What `events_layout` wants to know of a machine; softmax clears logits and probabilities."""
    cleared = config.vector_lanes + 2 * config.score_lanes
    return {
        "banks": config.banks,
        "lanes": config.lanes,
        "bus_bits": config.bus_bits,
        "head_groups": config.head_groups,
        "zero_skip": config.zero_skip,
        "attention_masks": config.attention_masks,
        "cleared": cleared if config.thresholds else 0,
    }


def connect_events(m: Module, core: "Core") -> None:
    """Counters, stall causes and the sign of life that the watchdog wants."""
    controller, head = core.controller, core.queues[Queue.ARRAY]
    monitor, events = core.stall_monitor, core.events
    # What the monitor sees is late in its cycle: it looks a cycle later, beyond the end of the run.
    # The first cycle, in which counters are cleared, does not count.
    state = Signal(ARRAY_STATE)
    seen, running = Signal(ARRAY_STATE, reset_less=True), Signal(reset_less=True)
    m.d.sync += [seen.eq(state), running.eq(core.running & ~core.begin)]
    m.d.comb += [
        monitor.state.eq(seen),
        monitor.running.eq(running),
        state.fired.eq(controller.fired),
        state.blocked_scores.eq(core.head_groups.blocked_scores),
        state.blocked_accumulators.eq(core.head_groups.blocked_accumulators),
        state.wait_credits.eq(Mux(controller.active, 0, head.wait & ~core.semaphores.nonzero)),
        state.queue_empty.eq(head.empty),
        state.queue_head.eq(head.head),
        state.queue_ready.eq(head.issued.valid),
        state.halted.eq(core.dispatcher.halted),
    ]
    for name in (
        "active",
        "wait_epilogue",
        "wait_softmax",
        "wait_token",
        "wait_token_index",
        "wait_port",
        "wait_operand",
        "wait_rows",
    ):
        m.d.comb += state[name].eq(getattr(controller, name))

    zero_macs, passing = [], []
    if core.skips:
        zero_macs.append(controller.macs_skipped_zero)
        passing.append(core.index_engine.passing)
    if core.packs:
        m.d.comb += events.idle_banks.eq(controller.idle_banks)
        zero_macs.append(core.head_groups.zero_probs * controller.head_dim)
    elif core.skips:
        m.d.comb += events.idle_banks.eq(controller.idle_banks)
    if core.places:
        passing.append(controller.passing)
        m.d.comb += [
            events.index_words_read.eq(controller.index_words_read),
            events.macs_skipped_masked.eq(controller.macs_skipped_masked),
        ]
    m.d.comb += [
        state.passing.eq(Cat(passing).any()),
        events.macs_skipped_zero.eq(sum(zero_macs, Const(0, 1))),
    ]
    if core.head_groups.thresholds:
        m.d.comb += events.values_cleared.eq(core.head_groups.values_cleared)

    loader, storer = core.loader, core.storer
    written = Signal()
    m.d.comb += [
        events.cycles.eq(core.running),
        events.array_busy_cycles.eq(core.running & controller.fired),
        events.macs_done.eq(controller.macs),
        events.row_words_read.eq(core.head_groups.rows_read),
        events.dram_program_bytes.eq(core.program_bytes),
        events.dram_weights_bytes.eq(loader.weights_bytes),
        events.dram_input_bytes.eq(loader.input_bytes),
        events.dram_scratch_bytes.eq(loader.scratch_bytes + storer.scratch_bytes),
        events.dram_result_bytes.eq(storer.result_bytes),
        events.residual_saturations.eq(core.head_groups.residual_saturations),
        events.logit_saturations.eq(core.head_groups.logit_saturations),
        events.instructions.eq(
            core.dispatcher.instruction.valid & core.dispatcher.instruction.ready
        ),
        written.eq(Cat(core.trace_token.valid, core.trace_row.valid, core.trace_prob.valid).any()),
        core.progress.eq(
            controller.fired
            | written
            | (core.select_tokens.moved if core.selects else 0)
            | (core.entropy_gate.busy if core.gates else 0)
            | (events.dram_program_bytes != 0)
            | (events.dram_weights_bytes != 0)
            | (events.dram_input_bytes != 0)
            | (events.dram_scratch_bytes != 0)
            | (events.dram_result_bytes != 0)
        ),
    ]
    for index, cause in enumerate(STALLS):
        m.d.comb += events[f"stall_{cause}_cycles"].eq(monitor.stalls[index])
