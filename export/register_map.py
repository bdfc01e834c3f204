"""The register map as SystemRDL 2.0, made from `spec.registers` and its meanings."""

import re

from amaranth.hdl import Shape

from rtl_gen.host.registers import DEFAULT_WATCHDOG_CYCLES
from rtl_gen.interfaces import PC_BITS, ROWS_BITS
from spec.config import Config
from spec.describe import notes
from spec.isa import Window
from spec.meanings import COUNTER_MEANINGS, REGISTER_MEANINGS
from spec.registers import (
    COUNTER_BITS,
    COUNTERS,
    MAGIC,
    REGISTERS,
    VERSION,
    Control,
    Error,
    Status,
    counter_address,
    window_address,
)

__all__ = ["register_names", "systemrdl"]

_STALL = "cycles stalled by this cause"
_ERROR_BITS = Shape.cast(Error).width
_ELSEWHERE = re.compile(r"see below; |, see below")
"""What a meaning says of the documents it usually stands in."""


def _text(words: str) -> str:
    """A string of SystemRDL."""
    escaped = words.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _field(name: str, bits: int, low: int, properties: dict[str, str], reset: int | None) -> str:
    """One field of a register, on a line."""
    body = " ".join(f"{key} = {value};" for key, value in properties.items())
    value = "" if reset is None else f" = 32'h{reset:x}"
    return f"        field {{ {body} }} {name}[{low + bits - 1}:{low}]{value};"


def _register(name: str, address: int, words: str, fields: list[str]) -> list[str]:
    return [
        "    reg {",
        f"        name = {_text(name)};",
        f"        desc = {_text(words)};",
        *fields,
        f"    }} {name} @ 0x{address:03X};",
        "",
    ]


def _flags(kind: type[Control] | type[Status], access: dict[str, str]) -> list[str]:
    """One field for each bit of a register of flags."""
    meaning = notes(kind)
    fields = []
    for flag in kind:
        properties = {"desc": _text(meaning[str(flag.name)]), **access}
        fields.append(_field(str(flag.name), 1, flag.value.bit_length() - 1, properties, 0))
    return fields


def _fields(name: str, config: Config) -> list[str]:
    """The fields of a register that is neither a window's nor a counter's."""
    digest = config.digest()
    constants = {
        "ID": MAGIC,
        "VERSION": VERSION,
        "CONFIG_DIGEST_LOW": digest & 0xFFFFFFFF,
        "CONFIG_DIGEST_HIGH": digest >> 32,
    }
    if name in constants:
        return [_field("VALUE", 32, 0, {"sw": "r", "hw": "na"}, constants[name])]
    if name == "CONTROL":
        return _flags(Control, {"sw": "w", "hw": "r", "singlepulse": "true"})
    if name == "STATUS":
        return _flags(Status, {"sw": "r", "hw": "w"})
    if name == "INTERRUPT_ENABLE":
        return [_field("ENABLE", 1, 0, {"sw": "rw", "hw": "r"}, 0)]
    if name == "WATCHDOG":
        return [_field("CYCLES", 32, 0, {"sw": "rw", "hw": "r"}, DEFAULT_WATCHDOG_CYCLES)]
    read = {"sw": "r", "hw": "w"}
    if name == "ERROR_CODE":
        return [_field("CODE", _ERROR_BITS, 0, {**read, "encode": "error_e"}, None)]
    return [_field("VALUE", {"ERROR_PC": PC_BITS, "LIVE_TOKENS": ROWS_BITS}[name], 0, read, None)]


def _errors() -> list[str]:
    meaning = notes(Error)
    lines = ["    enum error_e {"]
    for error in Error:
        name = str(error.name)
        text = _text(meaning[name])
        lines.append(f"        {name} = {_ERROR_BITS}'d{error.value} {{ desc = {text}; }};")
    return [*lines, "    };", ""]


def register_names() -> dict[str, int]:
    """Every register of the map, windows and counters included, with its byte address."""
    names = dict(REGISTERS)
    for window in Window:
        base, limit = window_address(window)
        names |= {f"{window.name}_BASE": base, f"{window.name}_LIMIT": limit}
    for counter in COUNTERS:
        low = counter_address(counter)
        names |= {f"{counter.upper()}_LOW": low, f"{counter.upper()}_HIGH": low + 4}
    return names


def systemrdl(config: Config) -> str:
    """Text of `sievit.rdl`: address map `sievit` of 4 KiB, all registers 32 bits."""
    meaning = notes(Window)
    lines = [
        "// Registers of a sievit machine behind its AXI4-Lite port. Generated: do not edit.",
        "addrmap sievit {",
        '    name = "sievit";',
        f"    desc = {_text(f'Registers of the vision-transformer accelerator {config.name}.')};",
        "    default regwidth = 32;",
        "    default accesswidth = 32;",
        "",
        *_errors(),
    ]
    for name, address in REGISTERS.items():
        access, words = REGISTER_MEANINGS[name]
        words = _ELSEWHERE.sub("", words)
        lines += _register(name, address, f"{words} ({access})", _fields(name, config))
    writable = {"sw": "rw", "hw": "r"}
    for window in Window:
        base, limit = window_address(window)
        for name, address, kind in (
            (f"{window.name}_BASE", base, "first byte, a multiple of 64"),
            (f"{window.name}_LIMIT", limit, "bytes"),
        ):
            words = f"window {window.name}: {kind}; {meaning[window.name]}"
            field = _field("BYTES", 32, 0, writable, 0)
            lines += _register(name, address, words, [field])
    for counter in COUNTERS:
        words, low = COUNTER_MEANINGS.get(counter, _STALL), counter_address(counter)
        for end, address, bits, note in (
            ("LOW", low, 32, "low word; reading it latches the high one"),
            ("HIGH", low + 4, COUNTER_BITS - 32, "high word, as latched"),
        ):
            field = _field("COUNT", bits, 0, {"sw": "r", "hw": "w"}, None)
            name = f"{counter.upper()}_{end}"
            lines += _register(name, address, f"{words}; {note}", [field])
    return "\n".join([*lines[:-1], "};", ""])
