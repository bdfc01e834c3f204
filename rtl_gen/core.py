"""The machine between the bus channels and the host registers: everything a run resets."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from rtl_gen.buffers.row_memory import RowMemory
from rtl_gen.buffers.table_memory import TableMemory
from rtl_gen.buffers.token_memory import TokenMemory
from rtl_gen.dma.axi import TRANSFER, read_data_layout
from rtl_gen.dma.fetcher import Fetcher
from rtl_gen.dma.loader import Loader
from rtl_gen.dma.storer import Storer
from rtl_gen.error_collector import ErrorCollector
from rtl_gen.host.counters import events_layout
from rtl_gen.index_engine.index_engine import IndexEngine
from rtl_gen.interfaces import ERROR, PC_BITS, ROWS_BITS, WINDOWS
from rtl_gen.pe_array.pe_array import PEArray
from rtl_gen.postproc.epilogue import Epilogue
from rtl_gen.postproc.layer_norm import LayerNorm
from rtl_gen.postproc.softmax import Softmax
from rtl_gen.sequencer.array_controller import ArrayController
from rtl_gen.sequencer.dispatcher import Dispatcher
from rtl_gen.sequencer.instruction_queue import InstructionQueue
from rtl_gen.sequencer.semaphores import Semaphores
from rtl_gen.sequencer.stall_monitor import StallMonitor
from rtl_gen.sequencer.vector_issue import VectorIssue
from spec.config import Config
from spec.isa import Queue, Window
from spec.registers import STALLS, Error

__all__ = ["FETCH", "LOAD", "Core", "trace_layout"]

FETCH, LOAD = 0, 1
"""Clients of the read channel; the fetcher has priority."""

# Clients of token memory, in order of priority: what holds up the array comes first.
_RESIDUAL, _PARTIAL, _OPERAND, _NORM, _STORE = range(5)
_EPILOGUE, _NORMALIZED, _LOADED = range(3)


def trace_layout(config: Config) -> dict[str, data.StructLayout]:
    """Every write of a result, as the trace ports report it: one layout for each kind."""
    lanes, banks = config.lanes, config.banks
    return {
        "token": data.StructLayout(
            {"valid": 1, "pc": PC_BITS, "address": 18, "mask": lanes, "data": lanes * 8}
        ),
        "row": data.StructLayout(
            {"valid": 1, "pc": PC_BITS, "bank": range(banks), "address": 18, "data": lanes * 8}
        ),
        "score": data.StructLayout({"valid": 1, "pc": PC_BITS, "mask": banks, "data": banks * 16}),
        "prob": data.StructLayout({"valid": 1, "pc": PC_BITS, "data": banks * 8}),
    }


class Core(wiring.Component):
    """Fetches, dispatches and executes one program; held in reset between programs.

    Members
    -------
    begin, running : the first cycle of a run; a run is on.
    windows : base and limit of the DRAM windows.
    read_request, read_data : the fetcher's and the loader's side of the read channel.
    write_request, write_data, written : the storer's side of the write channel.
    finished : HALT has been reached and all is done.
    error : the first error found.
    pc, fetch_pc, load_pc, store_pc : the instructions the array, the fetcher, the loader and the
        storer are at.
    progress : something moved in this cycle.
    live : the live-token register.
    events : increments of the counters of `spec.registers.COUNTERS`.
    trace_* : see `trace_layout`.
    """

    def __init__(self, config: Config) -> None:
        self._config = config
        bus_bits = config.bus_bits
        events = events_layout(banks=config.banks, lanes=config.lanes, bus_bits=bus_bits)
        super().__init__(
            {
                "begin": In(1),
                "running": In(1),
                "windows": In(WINDOWS),
                "read_request": Out(stream.Signature(TRANSFER)).array(2),
                "read_data": In(stream.Signature(read_data_layout(bus_bits))).array(2),
                "write_request": Out(stream.Signature(TRANSFER)),
                "write_data": Out(stream.Signature(bus_bits)),
                "written": In(1),
                "finished": Out(1),
                "error": Out(ERROR),
                "pc": Out(PC_BITS),
                "fetch_pc": Out(PC_BITS),
                "load_pc": Out(PC_BITS),
                "store_pc": Out(PC_BITS),
                "progress": Out(1),
                "live": Out(ROWS_BITS),
                "events": Out(events),
                **{f"trace_{kind}": Out(layout) for kind, layout in trace_layout(config).items()},
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Build the unit."""
        m = Module()
        self._build(m)
        self._connect_control(m)
        self._connect_data(m)
        self._connect_errors(m)
        self._connect_events(m)
        return m

    def _build(self, m: Module) -> None:
        c = self._config
        sizes = {"banks": c.banks, "lanes": c.lanes}
        logic = c.logic_multipliers
        m.submodules.fetcher = self.fetcher = Fetcher(bus_bits=c.bus_bits, depth=c.queue_depth)
        m.submodules.dispatcher = self.dispatcher = Dispatcher(
            lanes=c.lanes, max_tokens=c.max_tokens, max_head_words=c.max_head_words
        )
        self.queues = {}
        for queue in Queue:
            self.queues[queue] = InstructionQueue(depth=c.queue_depth)
            m.submodules[f"{queue.name.lower()}_queue"] = self.queues[queue]
        m.submodules.semaphores = self.semaphores = Semaphores(takers=2, givers=5)
        m.submodules.vector_issue = self.vector_issue = VectorIssue()
        m.submodules.controller = self.controller = ArrayController(
            **sizes, prob_words=c.prob_words, max_head_words=c.max_head_words
        )
        m.submodules.stall_monitor = self.stall_monitor = StallMonitor()
        m.submodules.index_engine = self.index_engine = IndexEngine(banks=c.banks)
        m.submodules.pe_array = self.pe_array = PEArray(
            **sizes, register_operands=c.register_operands
        )
        m.submodules.row_memory = self.row_memory = RowMemory(**sizes, words=c.row_words)
        m.submodules.token_memory = self.token_memory = TokenMemory(
            lanes=c.lanes, words=c.token_words, readers=5
        )
        m.submodules.column_tables = self.column_tables = TableMemory(
            words=c.column_tables * c.lanes // c.vector_lanes, entries=c.vector_lanes
        )
        m.submodules.norm_tables = self.norm_tables = TableMemory(
            words=c.norm_tables * c.lanes // c.norm_lanes, entries=c.norm_lanes
        )
        m.submodules.epilogue = self.epilogue = Epilogue(
            **sizes,
            vector_lanes=c.vector_lanes,
            column_tables=c.column_tables,
            logic_multipliers=logic,
        )
        m.submodules.softmax = self.softmax = Softmax(
            banks=c.banks,
            score_lanes=c.score_lanes,
            score_words=c.score_words,
            prob_words=c.prob_words,
            logic_multipliers=logic,
        )
        m.submodules.layer_norm = self.layer_norm = LayerNorm(
            lanes=c.lanes,
            norm_lanes=c.norm_lanes,
            norm_tables=c.norm_tables,
            logic_multipliers=logic,
        )
        m.submodules.loader = self.loader = Loader(
            **sizes,
            bus_bits=c.bus_bits,
            vector_lanes=c.vector_lanes,
            norm_lanes=c.norm_lanes,
            row_words=c.row_words,
            token_words=c.token_words,
            column_tables=c.column_tables,
            norm_tables=c.norm_tables,
        )
        m.submodules.storer = self.storer = Storer(
            lanes=c.lanes, bus_bits=c.bus_bits, token_words=c.token_words
        )

    def _connect_control(self, m: Module) -> None:
        """Program -> queues -> executors, and the credits between them."""
        fetcher, dispatcher, semaphores = self.fetcher, self.dispatcher, self.semaphores
        m.d.comb += [
            fetcher.start.eq(self.begin),
            fetcher.stop.eq(dispatcher.halted | dispatcher.error.valid),
            fetcher.program.eq(self.windows[Window.PROGRAM.value]),
            self.controller.live.eq(self.vector_issue.live),
            self.loader.windows.eq(self.windows),
            self.storer.windows.eq(self.windows),
        ]
        connect(m, fetcher.instruction, dispatcher.instruction)
        executors = {
            Queue.LOAD: self.loader.instruction,
            Queue.ARRAY: self.controller.issued,
            Queue.VECTOR: self.vector_issue.issued,
            Queue.STORE: self.storer.instruction,
        }
        for queue, head in self.queues.items():
            index = queue.value
            connect(m, dispatcher.queues[index], head.dispatched)
            connect(m, head.issued, executors[queue])
            m.d.comb += [
                semaphores.wait[index].eq(head.wait),
                head.available.eq(semaphores.available[index]),
                semaphores.take[index].eq(head.take),
            ]
        connect(m, self.vector_issue.command, self.layer_norm.command)
        connect(m, self.controller.take_token, semaphores.take_token[0])
        connect(m, self.layer_norm.take_token, semaphores.take_token[1])
        givers = (self.loader, self.epilogue, self.layer_norm, self.storer, self.vector_issue)
        for index, giver in enumerate(givers):
            m.d.comb += semaphores.give[index].eq(giver.give)
            if hasattr(giver, "give_token"):
                m.d.comb += semaphores.give_token[index].eq(giver.give_token)

        queues_empty = Cat(queue.empty for queue in self.queues.values()).all()
        executors_idle = Cat(
            self.loader.idle,
            ~self.controller.active,
            self.epilogue.idle,
            self.softmax.idle,
            self.layer_norm.idle,
            self.storer.idle,
        ).all()
        m.d.comb += [
            self.finished.eq(self.running & dispatcher.halted & queues_empty & executors_idle),
            self.live.eq(self.vector_issue.live),
            self.pc.eq(self.controller.pc),
            self.fetch_pc.eq(fetcher.instruction.p.pc),
            self.load_pc.eq(self.loader.pc),
        ]

        with m.If(self.storer.instruction.valid & self.storer.instruction.ready):
            m.d.sync += self.store_pc.eq(self.storer.instruction.p.pc)

    def _connect_data(self, m: Module) -> None:
        """Memories, array and post-processing."""
        controller, array, tokens = self.controller, self.pe_array, self.token_memory
        connect(m, flipped(self.read_request[FETCH]), self.fetcher.request)
        connect(m, flipped(self.read_request[LOAD]), self.loader.request)
        connect(m, flipped(self.read_data[FETCH]), self.fetcher.data)
        connect(m, flipped(self.read_data[LOAD]), self.loader.data)
        connect(m, flipped(self.write_request), self.storer.request)
        connect(m, flipped(self.write_data), self.storer.data)
        m.d.comb += self.storer.done.eq(self.written)

        connect(m, controller.walk, self.index_engine.walk)
        connect(m, self.index_engine.step, controller.step)
        control = controller.array
        m.d.comb += [
            self.row_memory.read_enable.eq(control.row_enable),
            self.row_memory.read_address.eq(control.row_address),
            self.row_memory.read_valid.eq(control.row_valid),
            array.rows.eq(self.row_memory.read_data),
            control.advance.eq(array.advance),
            control.prob_data.eq(self.softmax.prob_data),
            self.softmax.prob_enable.eq(controller.prob_enable),
            self.softmax.prob_address.eq(controller.prob_address),
            self.softmax.release.eq(controller.release),
            self.softmax.release_words.eq(controller.release_words),
        ]
        for name in ("step_valid", "reduce", "first", "last", "row_last", "bank_valid"):
            m.d.comb += getattr(array, name).eq(getattr(control, name))
        m.d.comb += [array.scalars.eq(control.scalars), array.vector.eq(control.vector)]

        connect(m, array.accumulators, self.epilogue.accumulators)
        connect(m, array.scores, self.softmax.scores)
        connect(m, controller.epilogue_command, self.epilogue.command)
        connect(m, controller.softmax_command, self.softmax.command)
        connect(m, controller.reserve, self.softmax.reserve)
        connect(m, self.softmax.rows, controller.prob_rows)
        connect(m, self.softmax.row_scale, self.epilogue.row_scale)

        connect(m, self.epilogue.residual, tokens.read[_RESIDUAL])
        connect(m, self.epilogue.partial, tokens.read[_PARTIAL])
        connect(m, controller.read, tokens.read[_OPERAND])
        connect(m, self.layer_norm.read, tokens.read[_NORM])
        connect(m, self.storer.token_read, tokens.read[_STORE])
        connect(m, self.epilogue.token_write, tokens.write[_EPILOGUE])
        connect(m, self.layer_norm.write, tokens.write[_NORMALIZED])
        connect(m, self.loader.token_write, tokens.write[_LOADED])
        connect(m, self.epilogue.row_write, self.row_memory.epilogue)
        connect(m, self.loader.row_write, self.row_memory.loader)
        connect(m, self.epilogue.table, self.column_tables.read)
        connect(m, self.layer_norm.table, self.norm_tables.read)
        connect(m, self.loader.column_write, self.column_tables.write)
        connect(m, self.loader.norm_write, self.norm_tables.write)

        sources = {
            "token": tokens.trace,
            "row": self.row_memory.trace,
            "score": self.softmax.trace_score,
            "prob": self.softmax.trace_prob,
        }
        for kind, source in sources.items():
            target = getattr(self, f"trace_{kind}")
            for field in trace_layout(self._config)[kind].members:
                m.d.comb += target[field].eq(source[field])

    def _connect_errors(self, m: Module) -> None:
        """Every unit's own errors, and those the memories found in its accesses."""
        tokens, rows = self.token_memory, self.row_memory
        token, row, table = Error.TOKEN_ADDRESS, Error.ROW_ADDRESS, Error.TABLE_ADDRESS
        array_pc, epilogue_pc = self.controller.pc, self.epilogue.pc
        norm_pc, load_pc = self.layer_norm.pc, self.loader.error.pc
        found = [
            (tokens.read_error[_OPERAND], token, array_pc),
            (tokens.read_error[_RESIDUAL], token, epilogue_pc),
            (tokens.read_error[_PARTIAL], token, epilogue_pc),
            (tokens.read_error[_NORM], token, norm_pc),
            (tokens.write_error[_EPILOGUE], token, tokens.write[_EPILOGUE].p.pc),
            (tokens.write_error[_NORMALIZED], token, tokens.write[_NORMALIZED].p.pc),
            (tokens.write_error[_LOADED], token, tokens.write[_LOADED].p.pc),
            (rows.read_error, row, array_pc),
            (rows.epilogue_error, row, rows.epilogue.p.pc),
            (rows.loader_error, row, rows.loader.p.pc),
            (self.column_tables.write_error | self.norm_tables.write_error, table, load_pc),
            (self.column_tables.read_error, table, epilogue_pc),
            (self.norm_tables.read_error, table, norm_pc),
            (self.semaphores.overflow, Error.SEMAPHORE, self.controller.pc),
        ]
        units = [
            self.fetcher.error,
            self.dispatcher.error,
            self.controller.error,
            self.vector_issue.error,
            self.epilogue.error,
            self.layer_norm.error,
            self.loader.error,
            self.storer.error,
        ]
        m.submodules.errors = errors = ErrorCollector(sources=len(found) + len(units))
        for index, (valid, code, pc) in enumerate(found):
            source = errors.i[index]
            m.d.comb += [source.valid.eq(valid), source.code.eq(code), source.pc.eq(pc)]
        for index, unit in enumerate(units, start=len(found)):
            m.d.comb += errors.i[index].eq(unit)
        m.d.comb += self.error.eq(errors.o)

    def _connect_events(self, m: Module) -> None:
        """Counters, stall causes and the sign of life that the watchdog wants."""
        controller, head = self.controller, self.queues[Queue.ARRAY]
        monitor, events = self.stall_monitor, self.events
        state = monitor.state
        m.d.comb += [
            monitor.running.eq(self.running),
            state.fired.eq(controller.fired),
            state.blocked_scores.eq(self.pe_array.blocked_scores),
            state.blocked_accumulators.eq(self.pe_array.blocked_accumulators),
            state.wait_credits.eq(Mux(controller.active, 0, head.wait & ~self.semaphores.nonzero)),
            state.queue_empty.eq(head.empty),
            state.queue_head.eq(head.head),
            state.queue_ready.eq(head.issued.valid),
            state.halted.eq(self.dispatcher.halted),
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

        loader, storer = self.loader, self.storer
        written = Signal()
        m.d.comb += [
            events.cycles.eq(self.running),
            events.array_busy_cycles.eq(self.running & controller.fired),
            events.macs_done.eq(controller.macs),
            events.row_words_read.eq(self.row_memory.rows_read),
            events.dram_program_bytes.eq(self.fetcher.program_bytes),
            events.dram_weights_bytes.eq(loader.weights_bytes),
            events.dram_input_bytes.eq(loader.input_bytes),
            events.dram_scratch_bytes.eq(loader.scratch_bytes + storer.scratch_bytes),
            events.dram_result_bytes.eq(storer.result_bytes),
            events.residual_saturations.eq(self.epilogue.residual_saturations),
            events.logit_saturations.eq(self.softmax.logit_saturations),
            events.instructions.eq(
                self.dispatcher.instruction.valid & self.dispatcher.instruction.ready
            ),
            written.eq(self.trace_token.valid | self.trace_row.valid | self.trace_prob.valid),
            self.progress.eq(
                controller.fired
                | written
                | (events.dram_program_bytes != 0)
                | (events.dram_weights_bytes != 0)
                | (events.dram_input_bytes != 0)
                | (events.dram_scratch_bytes != 0)
                | (events.dram_result_bytes != 0)
            ),
        ]
        for index, cause in enumerate(STALLS):
            m.d.comb += events[f"stall_{cause}_cycles"].eq(monitor.stalls[index])
