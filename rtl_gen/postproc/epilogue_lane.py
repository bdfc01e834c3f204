"""One channel's way through the epilogue."""

from amaranth.hdl import Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from rtl_gen.interfaces import ROW_SCALE, TABLE_ENTRY
from rtl_gen.postproc.gelu import Gelu
from rtl_gen.postproc.requantize import Requantize
from rtl_gen.postproc.residual_add import ResidualAdd
from rtl_gen.postproc.result_threshold import LIMIT_BITS
from rtl_gen.postproc.threshold import Threshold
from spec.formats import ACC, ACT, GELU, RESIDUAL

__all__ = ["EpilogueLane"]


class EpilogueLane(wiring.Component):
    """Requantize, threshold, GELU or identity, requantize, then clip to int8, keep int16 or add.

    Golden twins: `requantize`, `threshold`, `gelu_activation`, `residual_add` of
    `golden_model.units`.
    Latency: `LAST_STAGE` - 1 cycles with `enable` high, from `x` to `result`; one a cycle.

    logic : GELU multiplies in LUTs (a requantizer takes two DSP blocks)
    thresholds : there is a threshold

    Members
    -------
    enable : high moves the whole pipeline on
    x, entry : accumulator and its requantizer, stage 1
    linear : no GELU, stage `GELU_STAGE`
    limit, cleared, negative : of the threshold, stage `GELU_STAGE`; its value is below 0
    scale : requantizer of the GELU (times 1 without it), stage `SCALE_STAGE`
    zero_point, low : of the int8 result, stage `LAST_STAGE`
    wide : keep the int16, stage `LAST_STAGE`
    adds, residual : make it the saturated sum with `residual`, stage `LAST_STAGE`
    result, saturated : in the same cycle; an int8 is sign-extended
    """

    GELU_STAGE = 1 + Requantize.LATENCY
    SCALE_STAGE = GELU_STAGE + Gelu.LATENCY
    LAST_STAGE = SCALE_STAGE + Requantize.LATENCY_WITHOUT_ADDEND

    def __init__(self, *, logic: bool = False, thresholds: bool = False) -> None:
        self._logic, self._thresholds = logic, thresholds
        limit_ports = {"limit": In(LIMIT_BITS), "cleared": Out(1), "negative": Out(1)}
        super().__init__(
            {
                "enable": In(1),
                "x": In(signed(ACC.bits)),
                "entry": In(TABLE_ENTRY),
                "linear": In(1),
                "scale": In(ROW_SCALE),
                "zero_point": In(signed(ACT.bits)),
                "low": In(signed(ACT.bits)),
                "wide": In(1),
                "adds": In(1),
                "residual": In(signed(RESIDUAL.bits)),
                "result": Out(signed(RESIDUAL.bits)),
                "saturated": Out(1),
                **(limit_ports if thresholds else {}),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Chain the units; the last stage is combinational."""
        m = Module()
        bounds = {"low": RESIDUAL.low, "high": RESIDUAL.high}
        m.submodules.requantize = requantize = Requantize(**bounds, split=self._logic)
        m.submodules.gelu = gelu = Gelu(logic=self._logic)
        m.submodules.rescale = rescale = Requantize(
            **bounds, x_bits=GELU.output_bits, addend_bits=0, split=self._logic
        )
        m.submodules.residual_add = residual_add = ResidualAdd()
        value = requantize.o
        if self._thresholds:
            m.submodules.threshold = threshold = Threshold(
                x_bits=RESIDUAL.bits, limit_bits=LIMIT_BITS
            )
            value = threshold.o
            m.d.comb += [
                threshold.x.eq(requantize.o),
                threshold.limit.eq(self.limit),
                self.cleared.eq(threshold.cleared),
                self.negative.eq(requantize.o < 0),
            ]
        shifted = Signal(signed(RESIDUAL.bits + 1))
        clipped = Signal(signed(ACT.bits))
        m.d.comb += [
            requantize.enable.eq(self.enable),
            requantize.x.eq(self.x),
            requantize.addend.eq(self.entry.addend),
            requantize.multiplier.eq(self.entry.multiplier),
            requantize.shift.eq(self.entry.shift),
            gelu.enable.eq(self.enable),
            gelu.u.eq(value),
            gelu.linear.eq(self.linear),
            rescale.enable.eq(self.enable),
            rescale.x.eq(gelu.o),
            rescale.multiplier.eq(self.scale.multiplier),
            rescale.shift.eq(self.scale.shift),
            residual_add.h.eq(self.residual),
            residual_add.delta.eq(rescale.o),
            shifted.eq(rescale.o + self.zero_point),
            clipped.eq(
                Mux(shifted > ACT.high, ACT.high, Mux(shifted < self.low, self.low, shifted))
            ),
            self.result.eq(Mux(self.adds, residual_add.o, Mux(self.wide, rescale.o, clipped))),
            self.saturated.eq(self.adds & residual_add.saturated),
        ]
        return m
