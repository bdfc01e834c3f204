"""The issue stage of the array: a step fires when its operands are there and the array advances."""

from amaranth.hdl import Const, Module, Mux, Signal, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from rtl_gen.interfaces import ADDRESS_BITS, prob_row_layout, score_tag_layout, step_layout
from rtl_gen.sequencer.operand_reader import operand_layout
from spec.isa import ATTENTION

__all__ = ["ArrayStep", "array_signature", "pass_layout"]

FURTHER_BITS = ATTENTION["further_groups"].width


def pass_layout(prob_words: int, pairs: bool = False) -> data.StructLayout:
    """What the step stage must know of a pass.

    reduce: scores, otherwise accumulate; value: P.V, of output word `word`; final: the last pass
    over `prob_row`. With `pairs`: pair: scores by a list; both: of two queries.
    """
    return data.StructLayout(
        {
            "reduce": 1,
            "value": 1,
            "final": 1,
            "word": 4,
            "prob_row": prob_row_layout(prob_words),
            **({"pair": 1, "both": 1} if pairs else {}),
        }
    )


def array_signature(
    banks: int, lanes: int, head_groups: int = 1, pairs: bool = False
) -> wiring.Signature:
    """Control of row memories and arrays: addresses, and one cycle later the step's operands."""
    vector = Out(data.ArrayLayout(signed(8), head_groups * lanes))
    second = {"eager": Out(1), "second_vector": vector, "tag": Out(score_tag_layout(banks))}
    return wiring.Signature(
        {
            "advance": In(1),
            "prob_data": In(data.ArrayLayout(8, head_groups * banks)),
            "row_enable": Out(1),
            "row_address": Out(data.ArrayLayout(ADDRESS_BITS, banks)),
            "row_valid": Out(banks),
            "step_valid": Out(1),
            "reduce": Out(1),
            "first": Out(1),
            "last": Out(1),
            "row_last": Out(1),
            "bank_valid": Out(banks),
            "scalars": Out(data.ArrayLayout(signed(9), head_groups * banks)),
            "vector": vector,
            **(second if pairs else {}),
        }
    )


class ArrayStep(wiring.Component):
    """Row address now, scalars one cycle later together with the row: one step a cycle.

    The scalars of fully connected passes come from the operand words (word w of a token holds
    lanes / banks groups of `banks` channels); those of P.V come from the probability ring, whose
    read takes as long as the row memory's. A sparse step of either kind carries its scalars itself,
    and takes neither operand words nor probabilities (`sparse`: there are such steps).

    Members
    -------
    step : from the index engine; fired : a step is taken in this cycle.
    macs : MACs of the step that was taken in the cycle before.
    current : the pass the step belongs to; words : operand words of fully connected passes.
    vector : the query word of the step (reduce); with `pairs` also `second_vector`.
    of_lists : the instruction follows lists (with `pairs`).
    zero_point, lanes_valid, attention, head_dim : of the instruction.
    further_groups : of an attention instruction (with several head groups only).
    prob_enable, prob_address : read port of the probability ring.
    array : to the row memory (row_*) and, one cycle later, to the PE array. With several head
        groups, `vector`, `prob_data` and `scalars` hold each group's, group 0 lowest; the scalars
        of fully connected passes are the same for all.
    """

    def __init__(
        self,
        *,
        banks: int,
        lanes: int,
        prob_words: int,
        head_groups: int = 1,
        sparse: bool = False,
        pairs: bool = False,
    ) -> None:
        self._pairs = pairs
        self._banks = banks
        self._sparse = sparse
        self._lanes = lanes
        self._prob_words = prob_words
        self._head_groups = head_groups
        self.array_signature = array_signature(banks, lanes, head_groups, pairs)
        vector = In(data.ArrayLayout(8, lanes))
        super().__init__(
            {
                "step": In(stream.Signature(step_layout(banks, sparse, pairs))),
                "current": In(pass_layout(prob_words, pairs)),
                "words": In(stream.Signature(operand_layout(lanes))),
                "vector": In(data.ArrayLayout(8, head_groups * lanes)),
                "zero_point": In(signed(8)),
                "lanes_valid": In(8),
                "attention": In(1),
                "head_dim": In(8),
                "prob_enable": Out(1),
                "prob_address": Out(range(prob_words)),
                "array": Out(self.array_signature),
                "fired": Out(1),
                "macs": Out(range(head_groups * banks * lanes + 1)),
                **({"further_groups": In(FURTHER_BITS)} if head_groups > 1 else {}),
                **({"second_vector": vector, "of_lists": In(1)} if pairs else {}),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Build the unit."""
        m = Module()
        banks, lanes = self._banks, self._lanes
        slices = lanes // banks
        step, array, current = self.step.p, self.array, self.current

        # Whether the scalars are the operand word's, and the ring's.
        own_operand = self.attention
        from_words, of_ring = ~self.attention, current.value
        if self._sparse:
            own_operand |= step.sparse
            from_words &= ~step.sparse
            of_ring &= ~step.sparse
        last_slice = step.scalar[0] & (slices - 1) == slices - 1
        m.d.comb += [
            self.step.ready.eq(array.advance & (own_operand | self.words.valid)),
            self.fired.eq(self.step.valid & self.step.ready),
            self.words.ready.eq(self.fired & from_words & (last_slice | step.last)),
            array.row_enable.eq(array.advance & self.fired),
            array.row_address.eq(step.address),
            array.row_valid.eq(step.valid),
            self.prob_enable.eq(self.fired & of_ring),
            self.prob_address.eq(current.prob_row.address + step.scalar[0]),
        ]

        if self._pairs:
            m.d.comb += array.eager.eq(self.of_lists)

        # One cycle later, beside the rows. Without a step, what goes with it does not count: so
        # these many registers wait for `advance` alone.
        from_ring = Signal()
        scalars = Signal(data.ArrayLayout(signed(9), banks))
        with m.If(array.advance):
            m.d.sync += [
                array.step_valid.eq(self.fired),
                array.reduce.eq(current.reduce),
                array.first.eq(Mux(current.reduce, step.group_first, step.first)),
                array.last.eq(Mux(current.reduce, step.group_last, step.last)),
                array.row_last.eq(step.last),
                array.bank_valid.eq(step.valid),
                from_ring.eq(of_ring),
                array.vector.eq(self.vector),
            ]
            if self._pairs:
                m.d.sync += [
                    array.second_vector.eq(self.second_vector),
                    array.tag.eq(step.tag),
                ]
        for bank in range(banks):
            group = step.scalar[bank] & (slices - 1)
            code = Signal(signed(8), name=f"code_{bank}")
            with m.Switch(group):
                for index in range(slices):
                    with m.Case(index):
                        lane = index * banks + bank
                        m.d.comb += code.eq(self.words.p.data.word_select(lane, 8))
            scalar = code - self.zero_point
            if self._sparse:
                scalar = Mux(step.sparse, step.code[bank], scalar)
            with m.If(array.advance):
                m.d.sync += scalars[bank].eq(scalar)
            for each in range(bank, self._head_groups * banks, banks):
                m.d.comb += array.scalars[each].eq(
                    Mux(from_ring, array.prob_data[each], scalars[bank])
                )

        # MACs of the step, a cycle later: banks that take part times lanes that mean something.
        word = Mux(current.reduce, step.word, current.word)
        rest = Signal(signed(12))
        own_lanes, lanes_valid, own_banks = Signal(8), Signal(8), Signal(banks)
        m.d.comb += [
            rest.eq(self.head_dim - word * lanes),
            own_lanes.eq(Mux(rest > lanes, Const(lanes, 8), rest[:8])),
            self.macs.eq(sum(Mux(own_banks[bank], lanes_valid, 0) for bank in range(banks))),
        ]
        m.d.sync += [
            own_banks.eq(step.valid & self.fired.replicate(banks)),
            lanes_valid.eq(Mux(self.attention, own_lanes, self.lanes_valid)),
        ]
        for group in range(1, self._head_groups):
            with m.If(self.attention & (self.further_groups == group)):
                m.d.sync += lanes_valid.eq((group + 1) * own_lanes)
        return m
