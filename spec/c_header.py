"""The register map as a C header, `sievit_registers.h`: for firmware of those who integrate it."""

from collections.abc import Iterable

from amaranth.lib import enum

from spec.describe import notes
from spec.image import ALIGNMENT_BYTES
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

__all__ = ["c_header"]


def c_header() -> str:
    """The whole file; the same text each time.

    `SIEVIT_ERRORS`, `SIEVIT_COUNTERS` and `SIEVIT_WINDOWS` are lists for a macro of the user:
    X(name, value or address, text).
    """
    parts = [
        [
            "/* sievit: registers of the machine, AXI4-Lite, 32 bits. Generated; do not edit. */",
            "#ifndef SIEVIT_REGISTERS_H",
            "#define SIEVIT_REGISTERS_H",
        ],
        [
            *_define("MAGIC", f"0x{MAGIC:08x}u", "the ID register"),
            *_define("VERSION", f"{VERSION}u", "of instruction set and register map"),
            *_define("ALIGNMENT_BYTES", f"{ALIGNMENT_BYTES}u", "of every window's base"),
        ],
        [
            line
            for name, address in REGISTERS.items()
            for line in _define(
                f"REGISTER_{name}", f"0x{address:03x}u", ": ".join(REGISTER_MEANINGS[name])
            )
        ],
        _flags("CONTROL", Control),
        _flags("STATUS", Status),
        [
            "/* X(name, value, text) of each value of register ERROR_CODE */",
            *_list("ERRORS", ((e.name, f"{e.value}", notes(Error)[e.name]) for e in Error)),
            *(f"#define SIEVIT_ERROR_{error.name} {error.value}u" for error in Error),
        ],
        [
            "/* X(name, base register, text) of each window; its limit register is 4 behind */",
            *_list("WINDOWS", (_window(window) for window in Window)),
            f"#define SIEVIT_WINDOW_COUNT {len(Window)}u",
            *(f"#define SIEVIT_WINDOW_{window.name} {window.value}u" for window in Window),
            *(line for window in Window for line in _window_registers(window)),
        ],
        [
            f"/* X(name, register, text) of each counter: {COUNTER_BITS} bits, the low word here, "
            "the high one 4 behind;",
            "   a read of the low word latches the high one */",
            *_list("COUNTERS", (_counter(name) for name in COUNTERS)),
            f"#define SIEVIT_COUNTER_BITS {COUNTER_BITS}u",
            f"#define SIEVIT_COUNTER_COUNT {len(COUNTERS)}u",
            *(
                f"#define SIEVIT_COUNTER_{name.upper()} 0x{counter_address(name):03x}u"
                for name in COUNTERS
            ),
        ],
        ["#endif"],
    ]
    return "\n\n".join("\n".join(part) for part in parts) + "\n"


def _define(name: str, value: str, meaning: str) -> list[str]:
    return [f"/* {meaning} */", f"#define SIEVIT_{name} {value}"]


def _flags(register: str, kind: type[enum.Flag]) -> list[str]:
    meaning = notes(kind)
    return [
        line
        for member in kind
        for line in _define(
            f"{register}_{member.name}", f"0x{member.value:x}u", meaning[str(member.name)]
        )
    ]


def _list(name: str, rows: Iterable[tuple[str, str, str]]) -> list[str]:
    lines = [f"#define SIEVIT_{name}(X) \\"]
    lines += [f'    X({key}, {value}, "{_text(text)}") \\' for key, value, text in rows]
    lines[-1] = lines[-1].removesuffix(" \\")
    return lines


def _text(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')


def _window(window: Window) -> tuple[str, str, str]:
    return window.name, f"0x{window_address(window)[0]:03x}", notes(Window)[window.name]


def _window_registers(window: Window) -> list[str]:
    base, limit = window_address(window)
    return [
        f"#define SIEVIT_REGISTER_{window.name}_BASE 0x{base:03x}u",
        f"#define SIEVIT_REGISTER_{window.name}_LIMIT 0x{limit:03x}u",
    ]


def _counter(name: str) -> tuple[str, str, str]:
    text = COUNTER_MEANINGS.get(name, "cycles stalled by this cause")
    return name, f"0x{counter_address(name):03x}", text
