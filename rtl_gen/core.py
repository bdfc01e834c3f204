"""The machine between the bus channels and the host registers: everything a run resets."""

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from rtl_gen.buffers.table_memory import TableMemory
from rtl_gen.buffers.token_memory import TokenMemory
from rtl_gen.core_clients import (
    GATE,
    GROUP_READERS,
    NORM,
    OPERAND,
    PLACE_READERS,
    SELECT,
    STORE,
    reader_number,
    single_readers,
)
from rtl_gen.core_errors import connect_errors
from rtl_gen.core_events import connect_events, counter_sizes
from rtl_gen.core_gate import build_gate, connect_end
from rtl_gen.core_places import build_origins, connect_places
from rtl_gen.core_walks import build_sources, connect_lists, connect_walks
from rtl_gen.dma.axi import TRANSFER, read_data_layout
from rtl_gen.dma.loader import Loader
from rtl_gen.dma.storer import Storer
from rtl_gen.head_groups import HeadGroups
from rtl_gen.host.counters import events_layout
from rtl_gen.index_engine.index_engine import IndexEngine
from rtl_gen.interfaces import ERROR, ISSUED, PC_BITS, ROWS_BITS, WINDOWS
from rtl_gen.postproc.layer_norm import LayerNorm
from rtl_gen.sequencer.array_controller import ArrayController
from rtl_gen.sequencer.dispatcher import Dispatcher
from rtl_gen.sequencer.instruction_queue import InstructionQueue
from rtl_gen.sequencer.semaphores import Semaphores
from rtl_gen.sequencer.stall_monitor import StallMonitor
from rtl_gen.sequencer.vector_issue import VectorIssue
from rtl_gen.token_selector.select_tokens import SelectTokens
from rtl_gen.trace import trace_layout
from spec.config import SIEVES, Config
from spec.semaphores import Queue

__all__ = ["Core"]

# Writers of token memory behind those of the head groups.
_NORMALIZED, _LOADED, _SELECTED = range(3)

_OF_GROUPS = (
    *("banks", "lanes", "head_groups", "vector_lanes", "score_lanes", "row_words"),
    *("column_tables", "score_words", "prob_words", "register_operands", "logic_lanes"),
    *("logic_multipliers", "cls_scores", "thresholds"),
)
"""Parameters of the machine that head groups have too."""

GIVERS = (Queue.LOAD, Queue.ARRAY, Queue.VECTOR, Queue.STORE, Queue.VECTOR, Queue.ARRAY)
"""Queues of who gives credits: loader, head groups, LayerNorm, storer, vector issue; with a token
selector also the array controller. See `_connect_control`."""


class Core(wiring.Component):
    """Dispatches and executes one program; held in reset between programs.

    Members
    -------
    begin, running : the first cycle of a run; a run is on.
    windows : base and limit of the DRAM windows.
    instruction, stop_fetch, fetch_error, program_bytes : from and to the fetcher.
    read_request, read_data : the loader's side of the read channel.
    write_request, write_data, written : the storer's side of the write channel.
    finished : HALT, or a GATE that is certain, has been reached and all is done.
    restart : with `effort_gate`: a GATE was not certain; the core wants to be reset in this cycle.
    error : the first error found.
    pc, load_pc, store_pc : the instructions the array, the loader and the storer are at.
    progress : something moved in this cycle.
    live : the live-token register.
    events : increments of the counters of `spec.registers.COUNTERS`.
    trace_* : see `trace_layout`.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        self.selects, self.places = config.token_selector, config.attention_masks
        self.skips, self.packs = config.zero_skip, config.packs_probs
        self.gates = config.effort_gate
        self.readers = PLACE_READERS if self.places else GROUP_READERS
        events = events_layout(**counter_sizes(config))
        super().__init__(
            {
                "begin": In(1),
                "running": In(1),
                "windows": In(WINDOWS),
                "instruction": In(stream.Signature(ISSUED)),
                "stop_fetch": Out(1),
                "fetch_error": In(ERROR),
                "program_bytes": In(range(config.bus_bytes + 1)),
                "read_request": Out(stream.Signature(TRANSFER)),
                "read_data": In(stream.Signature(read_data_layout(config.bus_bits))),
                "write_request": Out(stream.Signature(TRANSFER)),
                "write_data": Out(stream.Signature(config.bus_bits)),
                "written": In(1),
                "finished": Out(1),
                **({"restart": Out(1)} if config.effort_gate else {}),
                "error": Out(ERROR),
                "pc": Out(PC_BITS),
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
        connect_errors(m, self)
        connect_events(m, self)
        return m

    def _build(self, m: Module) -> None:
        c = self.config
        sizes = {"banks": c.banks, "lanes": c.lanes}
        logic = c.logic_multipliers
        m.submodules.dispatcher = self.dispatcher = Dispatcher(
            lanes=c.lanes,
            max_tokens=c.max_tokens,
            max_head_words=c.max_head_words,
            head_groups=c.head_groups,
            token_selector=c.token_selector,
            cls_scores=c.cls_scores,
            effort_gate=c.effort_gate,
            **{name: getattr(c, name) for name in SIEVES},
        )
        selector = {"token_selector": c.token_selector}
        self.error_pending = Signal()
        """An error was found in the cycle before, and is not reported yet."""
        self.queues = {}
        for queue in Queue:
            self.queues[queue] = InstructionQueue(depth=c.queue_depth)
            m.submodules[f"{queue.name.lower()}_queue"] = self.queues[queue]
        givers = GIVERS if c.token_selector else GIVERS[:-1]
        m.submodules.semaphores = self.semaphores = Semaphores(
            takers=2,
            givers=len(givers),
            givers_of={
                queue: [n for n, own in enumerate(givers) if own is queue] for queue in Queue
            },
        )
        m.submodules.vector_issue = self.vector_issue = VectorIssue(**selector)
        m.submodules.controller = self.controller = ArrayController(
            **sizes,
            prob_words=c.prob_words,
            max_head_words=c.max_head_words,
            head_groups=c.head_groups,
            sieves=any(getattr(c, name) for name in SIEVES),
            sparse=c.sparse_steps,
            zero_skip=c.zero_skip,
            packed=c.packs_probs,
            attention_masks=c.attention_masks,
            score_words=c.score_words,
            **selector,
        )
        m.submodules.stall_monitor = self.stall_monitor = StallMonitor()
        m.submodules.index_engine = self.index_engine = IndexEngine(
            **sizes, sparse=c.sparse_steps, zero_skip=c.zero_skip
        )
        m.submodules.head_groups = self.head_groups = HeadGroups(
            **{name: getattr(c, name) for name in _OF_GROUPS},
            max_positions=c.max_positions if self.places else 0,
            skip_zeros=c.zero_skip and c.packs_probs,
        )
        if c.packs_probs:
            build_sources(m, self, c)
        m.submodules.token_memory = self.token_memory = TokenMemory(
            lanes=c.lanes,
            words=c.token_words,
            readers=len(self.readers) * c.head_groups + len(single_readers(c)),
            writers=c.head_groups + 2 + c.token_selector,
        )
        if self.gates:
            build_gate(m, self, c)
        if self.places:
            build_origins(m, self, c)
        if c.token_selector:
            m.submodules.select_tokens = self.select_tokens = SelectTokens(
                lanes=c.lanes,
                norm_lanes=c.norm_lanes,
                max_tokens=c.max_tokens,
                cls_scores=c.cls_scores,
                logic_multipliers=logic,
                origins=self.places,
            )
        m.submodules.norm_tables = self.norm_tables = TableMemory(
            words=c.norm_tables * c.lanes // c.norm_lanes, entries=c.norm_lanes
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
            head_groups=c.head_groups,
            **selector,
        )
        m.submodules.storer = self.storer = Storer(
            lanes=c.lanes, bus_bits=c.bus_bits, token_words=c.token_words, **selector
        )

    def _connect_control(self, m: Module) -> None:
        """Program -> queues -> executors, and the credits between them."""
        dispatcher, semaphores = self.dispatcher, self.semaphores
        halted = dispatcher.halted & (~dispatcher.gated if self.gates else 1)
        m.d.comb += [
            self.stop_fetch.eq(halted | dispatcher.error.valid),
            self.controller.live.eq(self.vector_issue.live),
            self.loader.windows.eq(self.windows),
            self.storer.windows.eq(self.windows),
        ]
        connect(m, flipped(self.instruction), dispatcher.instruction)
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
        givers = [self.loader, self.head_groups, self.layer_norm, self.storer, self.vector_issue]
        if self.selects:
            givers.append(self.controller)
            self._connect_selector(m)
        for index, giver in enumerate(givers):
            m.d.comb += semaphores.give[index].eq(giver.give)
            if hasattr(giver, "give_token"):
                m.d.comb += semaphores.give_token[index].eq(giver.give_token)

        queues_empty = Cat(queue.empty for queue in self.queues.values()).all()
        executors_idle = Cat(
            self.loader.idle,
            ~self.controller.active,
            self.head_groups.idle,
            self.layer_norm.idle,
            self.storer.idle,
            *((self.select_tokens.idle,) if self.selects else ()),
        ).all()
        at_rest = Signal()
        m.d.comb += [
            at_rest.eq(
                self.running
                & dispatcher.halted
                & queues_empty
                & executors_idle
                & ~self.error_pending
            ),
            self.live.eq(self.vector_issue.live),
            self.pc.eq(self.controller.pc),
            self.load_pc.eq(self.loader.pc),
        ]
        connect_end(m, self, at_rest)

        with m.If(self.storer.instruction.valid & self.storer.instruction.ready):
            m.d.sync += self.store_pc.eq(self.storer.instruction.p.pc)

    def _connect_selector(self, m: Module) -> None:
        """SELECT from the vector queue's head, and the numbers of rows back to it."""
        selector, issue = self.select_tokens, self.vector_issue
        connect(m, issue.select, selector.command)
        m.d.comb += [
            issue.selected.eq(selector.done),
            issue.new_live.eq(selector.live),
            issue.new_packages.eq(selector.packages),
            issue.norm_idle.eq(self.layer_norm.idle),
            self.controller.at_rest.eq(self.head_groups.idle),
            self.loader.live.eq(issue.live),
            self.storer.live.eq(issue.live),
        ]
        if self.config.cls_scores:
            groups = self.head_groups
            m.d.comb += [
                groups.collect_enable.eq(selector.collected_enable),
                groups.collect_token.eq(selector.collected_token),
                selector.collected_score.eq(groups.collected),
                selector.collecting.eq(groups.collecting),
            ]

    def _connect_data(self, m: Module) -> None:
        """Memories, array and post-processing."""
        controller, groups, tokens = self.controller, self.head_groups, self.token_memory
        count = self.config.head_groups
        readers, writers = tokens.read[len(self.readers) * count :], tokens.write[count:]
        connect(m, flipped(self.read_request), self.loader.request)
        connect(m, flipped(self.read_data), self.loader.data)
        connect(m, flipped(self.write_request), self.storer.request)
        connect(m, flipped(self.write_data), self.storer.data)
        m.d.comb += self.storer.done.eq(self.written)

        connect_walks(m, self)
        if self.skips:
            connect(m, controller.search_words, self.index_engine.words)
        connect(m, controller.array, groups.control)
        for name in ("release", "release_words"):
            m.d.comb += getattr(groups, name).eq(getattr(controller, name))
        for name in ("epilogue_command", "softmax_command", "reserve"):
            connect(m, getattr(controller, name), getattr(groups, name))
        connect(m, groups.prob_rows, controller.prob_rows)
        if count > 1:
            for name in ("fired", "groups", "next_groups", "group_words", "scales"):
                m.d.comb += getattr(groups, name).eq(getattr(controller, name))
            for name in ("row_group", "column_group"):
                m.d.comb += getattr(groups, name).eq(getattr(self.loader, name))

        for number, name in enumerate(GROUP_READERS):
            for group in range(count):
                connect(m, getattr(groups, name)[group], tokens.read[number * count + group])
        if self.places:
            connect_places(m, self, tokens.read[len(GROUP_READERS)])
            connect_lists(m, self, tokens.read[len(GROUP_READERS) + 1])
        connect(m, controller.read, readers[OPERAND])
        connect(m, self.layer_norm.read, readers[NORM])
        connect(m, self.storer.token_read, readers[STORE])
        for group in range(count):
            connect(m, groups.token_write[group], tokens.write[group])
        connect(m, self.layer_norm.write, writers[_NORMALIZED])
        connect(m, self.loader.token_write, writers[_LOADED])
        if self.gates:
            connect(m, self.entropy_gate.read, readers[reader_number(GATE, self.config)])
        if self.selects:
            connect(m, self.select_tokens.read, readers[SELECT])
            connect(m, self.select_tokens.write, writers[_SELECTED])
        connect(m, self.loader.row_write, groups.row_load)
        connect(m, self.loader.column_write, groups.column_load)
        connect(m, self.layer_norm.table, self.norm_tables.read)
        connect(m, self.loader.norm_write, self.norm_tables.write)
        self._connect_traces(m)

    def _connect_traces(self, m: Module) -> None:
        """The trace ports."""
        groups, layouts = self.head_groups, trace_layout(self.config)
        for field in layouts["token"].members:
            m.d.comb += self.trace_token[field].eq(self.token_memory.trace[field])
        for kind in ("row", "score", "prob"):
            target, sources = getattr(self, f"trace_{kind}"), getattr(groups, f"trace_{kind}")
            for field in layouts[kind].members:
                values = [source[field] for source in sources]
                many = enumerate(values) if len(values) > 1 else ()
                m.d.comb += [target[field][number].eq(value) for number, value in many]
                if len(values) == 1:
                    m.d.comb += target[field].eq(values[0])
