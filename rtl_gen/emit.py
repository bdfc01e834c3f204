"""Verilog of a whole machine."""

from amaranth.back import verilog as _verilog

from rtl_gen.top import Top
from spec.config import Config

__all__ = ["TOP", "verilog"]

TOP = "sievit_top"
"""Name of the emitted top module."""


def verilog(config: Config) -> str:
    """Verilog text of the machine; the same configuration gives the same bytes."""
    return _verilog.convert(Top(config), name=TOP, strip_internal_attrs=True, emit_src=False)
