"""Every unit's own errors, and those that the memories found in its accesses."""

from typing import TYPE_CHECKING

from amaranth.hdl import Module, Signal, Value

from rtl_gen.core_clients import GATE, GROUP_READERS, NORM, OPERAND, SELECT, reader_number
from rtl_gen.error_collector import ErrorCollector
from rtl_gen.head_group import ERRORS
from rtl_gen.interfaces import ERROR
from spec.registers import Error

if TYPE_CHECKING:
    from rtl_gen.core import Core

__all__ = ["connect_errors"]


def connect_errors(m: Module, core: "Core") -> None:
    """Make the error collector, and connect all sources to it."""
    tokens, groups, count = core.token_memory, core.head_groups, core.config.head_groups
    errors = dict(zip(ERRORS, groups.errors, strict=True))
    token, table = Error.TOKEN_ADDRESS, Error.TABLE_ADDRESS
    norm_pc, load_pc = core.layer_norm.pc, core.loader.error.pc
    m.d.comb += [groups.array_pc.eq(core.controller.pc), groups.load_pc.eq(load_pc)]
    reads = len(core.readers) * count
    pcs = [groups.pc[n % count] for n in range(len(GROUP_READERS) * count)]
    if core.places:
        pcs += [groups.place_pc, core.controller.pc]

    def writer(number: int) -> tuple[Value, Error, Value]:
        return tokens.write_error[number], token, tokens.write[number].p.pc

    found = [
        (tokens.read_error[reads + OPERAND], token, core.controller.pc),
        *((tokens.read_error[n], token, pc) for n, pc in enumerate(pcs)),
        (tokens.read_error[reads + NORM], token, norm_pc),
        *(writer(number) for number in range(len(tokens.write))),
        *(
            (errors[name].valid, errors[name].code, errors[name].pc)
            for name in ERRORS
            if name != "epilogue"
        ),
        (core.norm_tables.write_error, table, load_pc),
        (core.norm_tables.read_error, table, norm_pc),
        (core.semaphores.overflow, Error.SEMAPHORE, core.controller.pc),
    ]
    if core.selects:
        found.append((tokens.read_error[reads + SELECT], token, core.select_tokens.pc))
    if core.gates:
        number = reads + reader_number(GATE, core.config)
        found.append((tokens.read_error[number], token, core.dispatcher.gate_pc))
    # what the fetcher finds behind a GATE counts only if the program goes on
    fetched = Signal(ERROR)
    m.d.comb += fetched.eq(core.fetch_error)
    if core.gates:
        m.d.comb += fetched.valid.eq(core.fetch_error.valid & ~core.dispatcher.halted)
    units = [
        # before the fetcher's: what it finds behind a bad instruction does not count
        core.dispatcher.error,
        fetched,
        core.controller.error,
        core.vector_issue.error,
        errors["epilogue"],
        core.layer_norm.error,
        core.loader.error,
        core.storer.error,
        *((core.select_tokens.error,) if core.selects else ()),
    ]
    m.submodules.errors = first = ErrorCollector(sources=len(found) + len(units))
    for index, (valid, code, pc) in enumerate(found):
        source = first.i[index]
        m.d.comb += [source.valid.eq(valid), source.code.eq(code), source.pc.eq(pc)]
    for index, unit in enumerate(units, start=len(found)):
        m.d.comb += first.i[index].eq(unit)
    m.d.comb += [core.error.eq(first.o), core.error_pending.eq(first.pending)]
