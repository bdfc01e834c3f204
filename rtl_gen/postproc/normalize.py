"""Centres and scales channels of a row, then applies gain and offset."""

from amaranth.hdl import Module, Mux, Signal, Value, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from rtl_gen.interfaces import TABLE_ENTRY
from rtl_gen.postproc.row_statistics import CHANNEL_BITS, HALF_BITS, STATISTICS
from rtl_gen.primitives.multiply import add, multiply, multiply_parts
from rtl_gen.primitives.narrow_shift import narrow_shift
from spec.formats import ACT, NORM, RESIDUAL

__all__ = ["Normalize"]

ROOT_HALF = NORM.scaled_bits - 6
"""The centred value is kept shifted by ROOT_HALF - k: 5 bits for sqrt(channels), one sign."""
FRACTION_FIELD_BITS = 4
GAIN_PARTS = 4
"""Sums that make a product with a gain, which comes late from memory, where adders make it."""


class Normalize(wiring.Component):
    """`lanes` channels a cycle from RESIDUAL to ACT, given their row's STATISTICS.

    Golden twin: `golden_model.units.layer_norm` (`normalize` and the end of `layer_norm`).
    Latency: `LATENCY` cycles with `enable` high. Throughput: `lanes` channels a cycle. A cycle
    with `enable` low stops the whole pipeline.

    Members
    -------
    enable : the pipeline moves
    valid, values, row_end : RESIDUALs of a row, and whether they are its last
    statistics : of the row, in the same cycle
    channels, fraction_bits : D and the fraction of y, constant while rows are in work
    lookup, lookup_row_end : the table entries of these channels must be read in this cycle
    entries : TABLE_ENTRYs, in the cycle after `lookup` (and held while `enable` is low)
    result_valid, result : ACTs of `lanes` channels
    """

    LATENCY = 9
    LOOKUP = 4
    """Stage that asks for the table."""

    def __init__(self, *, lanes: int, logic_multipliers: bool = False) -> None:
        self.lanes = lanes
        self.logic_multipliers = logic_multipliers
        super().__init__(
            {
                "enable": In(1),
                "valid": In(1),
                "values": In(data.ArrayLayout(signed(RESIDUAL.bits), lanes)),
                "row_end": In(1),
                "statistics": In(STATISTICS),
                "channels": In(CHANNEL_BITS),
                "fraction_bits": In(FRACTION_FIELD_BITS),
                "lookup": Out(1),
                "lookup_row_end": Out(1),
                "entries": In(data.ArrayLayout(TABLE_ENTRY, lanes)),
                "result_valid": Out(1),
                "result": Out(data.ArrayLayout(signed(ACT.bits), lanes)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Build what the lanes share, then the lanes."""
        m = Module()
        valid, row_end = Signal(self.LATENCY), Signal(self.LOOKUP)
        total = Signal(signed(NORM.sum_bits))
        halves = [Signal(HALF_BITS, name=f"half_{stage}") for stage in (1, 2)]
        reciprocals = [Signal(NORM.reciprocal_bits, name=f"reciprocal_{at}") for at in (1, 2, 3)]
        with m.If(self.enable):
            m.d.sync += [
                valid.eq(valid << 1 | self.valid),
                row_end.eq(row_end << 1 | self.row_end),
                total.eq(self.statistics.total),
                halves[0].eq(self.statistics.half),
                halves[1].eq(halves[0]),
                reciprocals[0].eq(self.statistics.reciprocal),
                reciprocals[1].eq(reciprocals[0]),
                reciprocals[2].eq(reciprocals[1]),
            ]
        m.d.comb += [
            self.lookup.eq(self.enable & valid[self.LOOKUP - 1]),
            self.lookup_row_end.eq(row_end[self.LOOKUP - 1]),
            self.result_valid.eq(valid[-1]),
        ]
        for lane in range(self.lanes):
            self._lane(m, lane, total, halves[1], reciprocals[2])
        return m

    def _lane(self, m: Module, lane: int, total: Value, half: Value, reciprocal: Value) -> None:
        def register(bits: int, name: str) -> Signal:
            return Signal(signed(bits), name=f"{name}_{lane}")

        logic = {"logic": self.logic_multipliers}
        entry = self.entries[lane]

        # 1..3: n = D x - S1, shifted by ROOT_HALF - k
        multiple = register(RESIDUAL.bits + CHANNEL_BITS, "multiple")
        centred = register(NORM.centred_bits, "centred")
        scaled = register(NORM.scaled_bits, "scaled")
        spread = register(NORM.centred_bits + ROOT_HALF - 1, "spread")
        # 4, 5: y = n / root, rounded
        quotient = register(NORM.scaled_bits + NORM.reciprocal_bits, "quotient")
        fraction_low = ROOT_HALF + 14 - (1 << FRACTION_FIELD_BITS) + 1
        coarse = register(len(quotient) - fraction_low, "coarse")
        normal = register(NORM.normal_bits, "normal")
        # 6..9: gain, offset, shift, round
        gains = multiply_parts(
            m, normal, entry.multiplier.as_signed(), parts=GAIN_PARTS, logic=self.logic_multipliers
        )
        gained = [register(NORM.normal_bits + 16, "gained")]
        if len(gains) > 1:
            gained = [
                Signal.like(part, name=f"gained_{lane}_{number}")
                for number, part in enumerate(gains)
            ]
        offset = register(32, "offset")
        moved = register(NORM.normal_bits + 17, "moved")
        shift_6, shift_7 = Signal(6, name=f"shift_6_{lane}"), Signal(6, name=f"shift_7_{lane}")
        doubled = register(len(moved) + 1, "doubled")
        down = register(ACT.bits + 2, "down")
        m.d.comb += [
            spread.eq(centred << (ROOT_HALF - 1)),
            coarse.eq(quotient[fraction_low:].as_signed() >> ~self.fraction_bits),
            doubled.eq(moved << 1),
        ]
        low, beyond = narrow_shift(m, doubled, shift_7, len(down))
        near, _ = narrow_shift(m, spread, (half - 1)[:HALF_BITS], NORM.scaled_bits)
        moment = multiply(m, self.values[lane], self.channels, **logic)
        share = multiply(m, scaled, reciprocal, **logic)
        least = -(1 << len(down) - 1)
        with m.If(self.enable):
            m.d.sync += [
                multiple.eq(moment),
                centred.eq(multiple - total),
                scaled.eq(near),
                quotient.eq(share),
                normal.eq(clip((coarse + 1) >> 1, NORM.normal_bits)),
                *(each.eq(part) for each, part in zip(gained, gains, strict=True)),
                offset.eq(entry.addend),
                shift_6.eq(entry.shift),
                moved.eq(add([*gained, offset])),
                shift_7.eq(shift_6),
                down.eq(Mux(beyond, Mux(low < 0, least, ~least), low)),
                self.result[lane].eq(bound((down + 1) >> 1, ACT.low, ACT.high)),
            ]


def clip(value: Value, bits: int) -> Value:
    """A signed value clipped to `bits` bits."""
    top = value[bits - 1 :]
    fits = top.all() | ~top.any()
    low, high = -(1 << bits - 1), (1 << bits - 1) - 1
    return Mux(fits, value[:bits].as_signed(), Mux(value[-1], low, high))


def bound(value: Value, low: int, high: int) -> Value:
    """A signed value clipped to low .. high."""
    return Mux(value < low, low, Mux(value > high, high, value))
