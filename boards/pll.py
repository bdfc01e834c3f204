"""The ECP5's phase-locked loop: one clock from another."""

from dataclasses import dataclass

from amaranth.hdl import Instance, Module, Signal

from boards.errors import SynthesisError

__all__ = ["PllSettings", "pll", "pll_settings"]

_VCO_HZ = (400_000_000, 800_000_000)
_DETECTOR_HZ = (3_125_000, 400_000_000)
_MOST = 128
"""Largest divider."""
_ANALOG = {
    "ICP_CURRENT": "12",
    "LPF_RESISTOR": "8",
    "MFG_ENABLE_FILTEROPAMP": "1",
    "MFG_GMCREF_SEL": "2",
}
"""Loop filter, as Project Trellis's ecppll sets it."""


@dataclass(frozen=True, kw_only=True)
class PllSettings:
    """Dividers of an EHXPLLL whose first output is fed back."""

    input_div: int
    feedback_div: int
    output_div: int
    output_hz: int

    @property
    def parameters(self) -> dict[str, int | str]:
        """The cell's parameters; one output, so that its phase does not matter."""
        return {
            "PLLRST_ENA": "DISABLED",
            "INTFB_WAKE": "DISABLED",
            "STDBY_ENABLE": "DISABLED",
            "DPHASE_SOURCE": "DISABLED",
            "OUTDIVIDER_MUXA": "DIVA",
            "CLKOP_ENABLE": "ENABLED",
            "FEEDBK_PATH": "CLKOP",
            "CLKI_DIV": self.input_div,
            "CLKFB_DIV": self.feedback_div,
            "CLKOP_DIV": self.output_div,
            "CLKOP_CPHASE": self.output_div // 2 - 1,
            "CLKOP_FPHASE": 0,
        }


def pll_settings(input_hz: int, output_hz: int) -> PllSettings:
    """The smallest dividers that make `output_hz` exactly, with the oscillator near its middle.

    Limits of the ECP5 data sheet: oscillator 400..800 MHz, phase detector 3.125..400 MHz.
    """
    for input_div in range(1, _MOST + 1):
        feedback_div, rest = divmod(output_hz * input_div, input_hz)
        detector_hz = input_hz / input_div
        if rest or not 1 <= feedback_div <= _MOST or not _within(detector_hz, _DETECTOR_HZ):
            continue
        dividers = [n for n in range(1, _MOST + 1) if _within(output_hz * n, _VCO_HZ)]
        if dividers:
            output_div = min(dividers, key=lambda n: abs(2 * output_hz * n - sum(_VCO_HZ)))
            return PllSettings(
                input_div=input_div,
                feedback_div=feedback_div,
                output_div=output_div,
                output_hz=output_hz,
            )
    raise SynthesisError(
        f"no clock of {output_hz / 1e6:g} MHz can be made from {input_hz / 1e6:g} MHz: "
        "choose one that divides better"
    )


def _within(value: float, limits: tuple[int, int]) -> bool:
    return limits[0] <= value <= limits[1]


def pll(m: Module, settings: PllSettings, source: Signal, clock: Signal, locked: Signal) -> None:
    """Add the cell: `clock` from `source`; `locked` is asynchronous."""
    m.submodules.pll = Instance(
        "EHXPLLL",
        **{f"p_{name}": value for name, value in settings.parameters.items()},
        **{f"a_{name}": value for name, value in _ANALOG.items()},
        i_CLKI=source,
        i_CLKFB=clock,
        i_RST=0,
        i_STDBY=0,
        i_PHASESEL0=0,
        i_PHASESEL1=0,
        i_PHASEDIR=1,
        i_PHASESTEP=1,
        i_PHASELOADREG=1,
        i_PLLWAKESYNC=0,
        i_ENCLKOP=0,
        o_CLKOP=clock,
        o_LOCK=locked,
    )
