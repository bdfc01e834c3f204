"""The MAC array: banks x lanes multipliers with two ways to add up their products."""

from types import SimpleNamespace

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from rtl_gen.interfaces import accumulators_layout, score_tag_layout, scores_layout
from rtl_gen.primitives.multiply import multiply
from spec.formats import ACC, SCALAR, WEIGHT

__all__ = ["PEArray"]

PRODUCT_BITS = SCALAR.bits + WEIGHT.bits


def _register(bits: int, name: str) -> Signal:
    """Return a signed data register; only the valid bits beside it need a reset."""
    return Signal(signed(bits), name=name, reset_less=True)


def _split(value: Value, bits: int) -> list[Value]:
    """Return the signed fields of `bits` bits each, the lowest first."""
    return [value[i : i + bits].as_signed() for i in range(0, len(value), bits)]


def _add(values: list[Value]) -> Value:
    """Return the sum of signed values, as a balanced tree of adders."""
    while len(values) > 1:
        odd = values[-1:] if len(values) % 2 else []
        values = [a + b for a, b in zip(values[::2], values[1::2], strict=False)] + odd
    return values[0]


class PEArray(wiring.Component):
    """One multiplier a PE, shared by two modes that add up its products differently.

    Accumulate: `acc[l] (+)= sum_b scalars[b] * rows[b][l]`; a finished accumulation leaves through
    `accumulators`. Reduce: `score[b] (+)= sum_l vector[l] * rows[b][l]`; a finished group of
    `banks` scores leaves through `scores`. `first` starts an accumulation, `last` finishes it;
    the modes have separate sums. 65,535 rows, the most a pass can have, cannot overflow ACC.

    Golden twin: `golden_model.units.pe_array`. Latency: LATENCY cycles from a step to its result
    (products, partial sums, result). Throughput: one step a cycle, in both modes and between them,
    unless accumulations of a single step follow each other, which take two. With
    `register_operands`, operands rest in registers of their own for a cycle, between memory and
    multiplier: for FPGAs, where both are far apart. The first `logic_lanes` lanes multiply in LUTs.
    Back-pressure: a result waits in a register of its own while the next one accumulates; when
    that one finishes too, the whole array freezes: `advance` is low, and the inputs must hold.

    Members
    -------
    step_valid, reduce, first, last, row_last : a step and its place, taken with `advance`
    rows : WEIGHT or ACT [banks][lanes], lane 0 lowest; banks outside `bank_valid` count as zeros
    scalars, vector : the other operand, SCALAR [banks] to accumulate, ACT [lanes] to reduce
    tag, second_vector : with `pairs`, to reduce: goes with the scores; banks whose `tag.second` is
        set take this vector
    accumulators, scores : results; `scores.p.valid` is `bank_valid` of the group's last step
    scores_ready_next : what `scores.ready` will be in the next cycle
    advance : the array takes its inputs in this cycle
    blocked_accumulators, blocked_scores : it does not, because this stream's result waits
    busy : a step or a result is in flight
    eager : with `pairs`: an accumulation finishes in the cycle in which the waiting one is taken
    """

    def __init__(
        self,
        *,
        banks: int,
        lanes: int,
        register_operands: bool = False,
        logic_lanes: int = 0,
        pairs: bool = False,
    ) -> None:
        if banks < 1 or lanes < 1 or lanes % banks:
            raise ValueError(f"banks must be positive and divide lanes, not {banks} and {lanes}")
        self.banks = banks
        self.lanes = lanes
        self.register_operands = register_operands
        self.logic_lanes = logic_lanes
        self.pairs = pairs
        self.LATENCY = 3 + register_operands
        vector = data.ArrayLayout(signed(WEIGHT.bits), lanes)
        second = {"eager": In(1), "second_vector": In(vector), "tag": In(score_tag_layout(banks))}
        super().__init__(
            {
                "step_valid": In(1),
                "reduce": In(1),
                "first": In(1),
                "last": In(1),
                "row_last": In(1),
                "rows": In(data.ArrayLayout(lanes * WEIGHT.bits, banks)),
                "scalars": In(data.ArrayLayout(signed(SCALAR.bits), banks)),
                "vector": In(vector),
                "bank_valid": In(banks),
                "accumulators": Out(stream.Signature(accumulators_layout(lanes))),
                "scores": Out(stream.Signature(scores_layout(banks, pairs))),
                "scores_ready_next": In(1),
                "advance": Out(1),
                "blocked_accumulators": Out(1),
                "blocked_scores": Out(1),
                "busy": Out(1),
                **(second if pairs else {}),
            }
        )

    def elaborate(self, platform: None) -> Module:
        """Build the unit."""
        m = Module()
        banks, lanes = range(self.banks), range(self.lanes)
        accumulators, scores = self.accumulators, self.scores
        step = data.StructLayout(
            {
                "reduce": 1,
                "first": 1,
                "last": 1,
                "row_last": 1,
                "banks": self.banks,
                **({"tag": score_tag_layout(self.banks)} if self.pairs else {}),
            }
        )
        product_valid, partial_valid = Signal(), Signal()
        product_step, partial_step = Signal(step), Signal(step)
        finishes_scores, finishes_accumulators = Signal(), Signal()
        """Beside `partial_step`: it is the last one of its accumulation."""

        inputs = self._operands(m)
        held = inputs.step_valid if self.register_operands else 0

        # Products.
        products = [
            [_register(PRODUCT_BITS, f"product_{bank}_{lane}") for lane in lanes] for bank in banks
        ]
        for bank in banks:
            row = _split(inputs.rows[bank], WEIGHT.bits)
            for lane in lanes:
                operand = _register(SCALAR.bits, f"operand_{bank}_{lane}")
                product = multiply(m, operand, row[lane], logic=lane < self.logic_lanes)
                if self.register_operands:
                    # in a register of each multiplier: FPGAs have these in the multiplier
                    chosen = self._operand(self, bank, lane)
                    with m.If(self.advance):
                        m.d.sync += operand.eq(
                            chosen & self.bank_valid[bank].replicate(SCALAR.bits)
                        )
                else:
                    m.d.comb += operand.eq(self._operand(inputs, bank, lane))
                    product = Mux(inputs.bank_valid[bank], product, 0)
                with m.If(self.advance & inputs.step_valid):
                    m.d.sync += products[bank][lane].eq(product)

        # Partial sums: each square of banks x banks products is added up along its columns, or
        # along its rows, by the same adders.
        part_bits = PRODUCT_BITS + ceil_log2(self.banks)
        parts = [_register(part_bits, f"part_{lane}") for lane in lanes]
        with m.If(self.advance & product_valid):
            for lane, part in enumerate(parts):
                square, line = lane - lane % self.banks, lane % self.banks
                terms = [
                    Mux(product_step.reduce, products[line][square + n], products[n][lane])
                    for n in banks
                ]
                m.d.sync += part.eq(_add(terms))

        # Running sums, and the results that wait to be taken.
        scored = [_add(parts[bank :: self.banks]) for bank in banks]
        for name, sums, result, mode, finishes in (
            (
                "accumulator",
                parts,
                accumulators.payload,
                ~partial_step.reduce,
                finishes_accumulators,
            ),
            ("score", scored, scores.p.values, partial_step.reduce, finishes_scores),
        ):
            totals = [Signal(signed(ACC.bits), name=f"{name}_total_{i}") for i in range(len(sums))]
            with m.If(self.advance & partial_valid & mode):
                for i, total in enumerate(totals):
                    running = _register(ACC.bits, f"{name}_{i}")
                    m.d.comb += total.eq(Mux(partial_step.first, 0, running) + sums[i])
                    m.d.sync += running.eq(total)
            with m.If(self.advance & finishes):
                m.d.sync += result.eq(Cat(totals))

        # Control. The whole array hangs on `advance`, so what it will be is worked out a cycle
        # ahead, from what the registers will hold.
        moves, waits = Signal(init=1), Signal()
        """No result is in another's way; a result of accumulators is."""
        blocks = Signal(2)
        """Of accumulators and of scores: what will be in the way."""
        for number, (finishes, reduces, result) in enumerate(
            (
                (finishes_accumulators, ~product_step.reduce, accumulators),
                (finishes_scores, product_step.reduce, scores),
            )
        ):
            finishes_next, valid_next = Signal(), Signal()
            m.d.comb += [
                finishes_next.eq(
                    Mux(self.advance, product_valid & product_step.last & reduces, finishes)
                ),
                valid_next.eq((self.advance & finishes) | (result.valid & ~result.ready)),
                blocks[number].eq(finishes_next & valid_next),
            ]
            m.d.sync += [finishes.eq(finishes_next), result.valid.eq(valid_next)]
        blocks_scores = blocks[1] & ~self.scores_ready_next
        m.d.sync += [
            moves.eq(~(blocks[0] | blocks_scores)),
            waits.eq(blocks[0]),
            self.blocked_scores.eq(blocks_scores),
        ]
        # Accumulators are in the way even while they are being taken: so the array's advance does
        # not hang on the whole epilogue within a cycle; `eager` is for rows of few steps.
        eager = self.eager & accumulators.ready if self.pairs else Const(0, 1)
        m.d.comb += [
            self.blocked_accumulators.eq(waits & ~eager),
            self.advance.eq(moves | (eager & ~self.blocked_scores)),
            self.busy.eq(held | product_valid | partial_valid | accumulators.valid | scores.valid),
        ]
        with m.If(self.advance):
            m.d.sync += [
                product_valid.eq(inputs.step_valid),
                product_step.reduce.eq(inputs.reduce),
                product_step.first.eq(inputs.first),
                product_step.last.eq(inputs.last),
                product_step.row_last.eq(inputs.row_last),
                product_step.banks.eq(inputs.bank_valid),
                partial_valid.eq(product_valid),
                partial_step.eq(product_step),
            ]
            if self.pairs:
                m.d.sync += product_step.tag.eq(inputs.tag)
            with m.If(finishes_scores):
                m.d.sync += [
                    scores.p.valid.eq(partial_step.banks),
                    scores.p.last.eq(partial_step.row_last),
                ]
                if self.pairs:
                    m.d.sync += scores.p.tag.eq(partial_step.tag)
        return m

    def _operand(self, inputs: "SimpleNamespace | PEArray", bank: int, lane: int) -> Value:
        """What a bank's row is multiplied with, in a lane."""
        vector = inputs.vector[lane]
        if self.pairs:
            vector = Mux(inputs.tag.second[bank], inputs.second_vector[lane], vector)
        return Mux(inputs.reduce, vector, inputs.scalars[bank])

    def _operands(self, m: Module) -> SimpleNamespace:
        """Return the inputs, or the registers that hold them for a cycle (see also `_operand`)."""
        names = ["step_valid", "reduce", "first", "last", "row_last", "bank_valid", "rows"]
        names += ["tag"] * self.pairs
        if not self.register_operands:
            names += ["scalars", "vector", *(["second_vector"] * self.pairs)]
        inputs = {name: getattr(self, name) for name in names}
        if self.register_operands:
            for name, source in inputs.items():
                shape = self.signature.members[name].shape
                inputs[name] = Signal(shape, name=f"held_{name}", reset_less=name != "step_valid")
                with m.If(self.advance):
                    m.d.sync += inputs[name].eq(source)
        return SimpleNamespace(**inputs)
