"""The C driver, compiled, against the machine's registers in software."""

import ctypes
import re
import subprocess
from ctypes import CFUNCTYPE, byref, c_char_p, c_int16, c_size_t, c_uint32, c_uint64
from pathlib import Path

import numpy as np
import pytest

from golden_model.machine import machine
from host.twin_registers import TwinRegisters
from spec.board_memory import board_memory
from spec.c_header import c_header
from spec.isa import Window
from spec.registers import (
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
from tests.host.boards import MEMORY_BYTES, TINY, micro

SOURCES = Path(__file__).resolve().parents[2] / "host" / "c"
STRICT = ("-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic")
READ = CFUNCTYPE(c_uint32, ctypes.c_void_p, c_uint32)
WRITE = CFUNCTYPE(None, ctypes.c_void_p, c_uint32, c_uint32)
COPY_IN = CFUNCTYPE(None, ctypes.c_void_p, c_uint32, ctypes.c_void_p, c_size_t)
COPY_OUT = CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, c_uint32, c_size_t)
RESULTS = [
    "OK",
    "NO_MACHINE",
    "OTHER_VERSION",
    "OTHER_CONFIG",
    "UNALIGNED",
    "NOT_IDLE",
    "LOST",
    "TIMED_OUT",
    "STOPPED",
    "TOO_SMALL",
]


class Bus(ctypes.Structure):
    _fields_ = [
        ("context", ctypes.c_void_p),
        ("read32", READ),
        ("write32", WRITE),
        ("copy_in", COPY_IN),
        ("copy_out", COPY_OUT),
    ]


class WindowPlace(ctypes.Structure):
    _fields_ = [("base", c_uint32), ("limit", c_uint32)]


class Fault(ctypes.Structure):
    _fields_ = [("code", c_uint32), ("pc", c_uint32)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("c")
    (folder / "sievit_registers.h").write_text(c_header())
    return folder


@pytest.fixture(scope="module")
def library(folder):
    """The driver as a shared library, warnings being errors."""
    built = folder / "driver.so"
    command = ["cc", *STRICT, "-shared", "-fPIC", f"-I{folder}", "-o", built]
    subprocess.run([*command, SOURCES / "sievit_driver.c"], check=True)
    library = ctypes.CDLL(str(built))
    for name in ("result_text", "error_name", "error_text", "counter_name"):
        getattr(library, f"sievit_{name}").restype = c_char_p
    library.sievit_counter.restype = c_uint64
    return library


class Rig:
    """The machine's registers and memory, with micro loaded, as the driver's callbacks."""

    def __init__(self, library, busy_reads=3, changes=()):
        self.library = library
        self.image, self.inputs = micro()
        self.layout = board_memory(self.image)
        self.memory = bytearray(MEMORY_BYTES)
        self.memory[: len(self.layout.content)] = self.layout.content
        for at, value in changes:
            self.memory[at] = value
        self.registers = TwinRegisters(TINY, self.memory, busy_reads=busy_reads)
        self.bus = Bus(
            None,
            READ(lambda _, at: self.registers.read(at)),
            WRITE(lambda _, at, value: self.registers.write(at, value)),
            COPY_IN(self.copy_in),
            COPY_OUT(self.copy_out),
        )
        places = [(self.layout.bases[w], self.layout.limits[w]) for w in Window]
        self.windows = (WindowPlace * len(Window))(*places)
        self.fault = Fault()

    def copy_in(self, _, address, content, size):
        self.memory[address : address + size] = ctypes.string_at(content, size)

    def copy_out(self, _, to, address, size):
        ctypes.memmove(to, bytes(self.memory[address : address + size]), size)

    def call(self, name, *arguments):
        return RESULTS[getattr(self.library, f"sievit_{name}")(byref(self.bus), *arguments)]

    def infer(self, number, polls=100):
        content = self.image.pack_input(self.inputs[number])
        logits = (c_int16 * self.image.result.classes)()
        ended = self.call(
            "infer",
            self.windows,
            content,
            c_size_t(len(content)),
            logits,
            c_size_t(len(logits)),
            c_uint32(polls),
            byref(self.fault),
        )
        return ended, np.array(logits, np.int16)


def test_the_same_logits(library):
    rig = Rig(library)
    assert rig.call("identify", c_uint64(TINY.digest())) == "OK"
    for number in (0, 1, 1, 3, 0, 2):
        ended, logits = rig.infer(number)
        assert ended == "OK"
        assert np.array_equal(logits, machine(rig.image, TINY, rig.inputs[number]).logits)
        assert rig.registers.status == Status(0)


def test_counters(library):
    rig = Rig(library)
    rig.infer(2)
    values = (c_uint64 * len(COUNTERS))()
    library.sievit_counters(byref(rig.bus), values)
    expected = sum(machine(rig.image, TINY, rig.inputs[2]).execution.macs.values())
    found = dict(zip(COUNTERS, values, strict=True))
    assert found["macs_done"] == expected > 0
    rig.registers._counters["cycles"] = 0x1234_5678_9ABC
    at = c_uint32(counter_address("cycles"))
    assert library.sievit_counter(byref(rig.bus), at) == 0x1234_5678_9ABC
    names = [library.sievit_counter_name(c_size_t(n)).decode() for n in range(len(COUNTERS) + 1)]
    assert names == [*COUNTERS, "?"]


@pytest.mark.parametrize(
    ("register", "result"),
    [
        ("ID", "NO_MACHINE"),
        ("VERSION", "OTHER_VERSION"),
        ("CONFIG_DIGEST_LOW", "OTHER_CONFIG"),
        ("CONFIG_DIGEST_HIGH", "OTHER_CONFIG"),
    ],
)
def test_identity(library, register, result):
    rig = Rig(library)
    read = rig.registers.read
    rig.registers.read = lambda at: read(at) ^ (at == REGISTERS[register])
    assert rig.call("identify", c_uint64(TINY.digest())) == result


def test_an_error_of_the_machine_and_the_next_run(library):
    at = 64 + 17 * 32
    rig = Rig(library, changes=[(at, 200)])
    assert rig.infer(0)[0] == "STOPPED"
    assert (rig.fault.code, rig.fault.pc) == (Error.OPCODE.value, 17)
    rig.memory[at] = rig.layout.content[at]
    ended, logits = rig.infer(0)
    assert ended == "OK"
    assert np.array_equal(logits, machine(rig.image, TINY, rig.inputs[0]).logits)


def test_a_machine_that_does_not_end(library):
    rig = Rig(library, busy_reads=10**9)
    assert rig.infer(0, polls=50)[0] == "TIMED_OUT"
    assert rig.registers.status == Status(0)


def test_a_reset_in_the_middle(library):
    rig = Rig(library)
    assert rig.call("start") == "OK"
    assert rig.call("start") == "NOT_IDLE"
    rig.registers = TwinRegisters(TINY, rig.memory)
    assert rig.call("wait", c_uint32(9), None) == "LOST"
    assert rig.infer(1)[0] == "OK"


def test_windows(library):
    rig = Rig(library)
    assert rig.call("set_windows", rig.windows) == "OK"
    for window in Window:
        places = [rig.registers.read(at) for at in window_address(window)]
        assert places == [rig.layout.bases[window], rig.layout.limits[window]]
    rig.registers.write(REGISTERS["CONTROL"], Control.START.value)
    assert rig.call("set_windows", rig.windows) == "NOT_IDLE"
    rig.windows[2].base += 4
    assert rig.call("set_windows", rig.windows) == "UNALIGNED"
    assert rig.infer(0)[0] == "UNALIGNED"
    rig.windows[2].limit = 3
    assert rig.infer(0)[0] == "TOO_SMALL"


def test_words(library):
    from spec.describe import notes

    for error in Error:
        code = c_uint32(error.value)
        assert library.sievit_error_name(code).decode() == error.name
        assert library.sievit_error_text(code).decode() == notes(Error)[error.name]
    assert library.sievit_error_text(c_uint32(99)) == b"no such error"
    header = (SOURCES / "sievit_driver.h").read_text()
    listed = re.search(r"typedef enum \{(.*?)\}", header, re.DOTALL)
    names = re.findall(r"SIEVIT_(\w+)", listed[1])
    assert names == RESULTS
    texts = {library.sievit_result_text(number) for number in range(len(RESULTS))}
    assert len(texts) == len(RESULTS)
    assert library.sievit_result_text(99) == b"no such result"


def test_the_header_s_values(folder):
    """What C sees is what the specification says."""
    expected = {
        "SIEVIT_MAGIC": MAGIC,
        "SIEVIT_VERSION": VERSION,
        **{f"SIEVIT_REGISTER_{name}": at for name, at in REGISTERS.items()},
        **{f"SIEVIT_COUNTER_{name.upper()}": counter_address(name) for name in COUNTERS},
        **{f"SIEVIT_ERROR_{error.name}": error.value for error in Error},
        **{f"SIEVIT_CONTROL_{bit.name}": bit.value for bit in Control},
        **{f"SIEVIT_STATUS_{bit.name}": bit.value for bit in Status},
    }
    for window in Window:
        base, limit = window_address(window)
        expected |= {
            f"SIEVIT_WINDOW_{window.name}": window.value,
            f"SIEVIT_REGISTER_{window.name}_BASE": base,
            f"SIEVIT_REGISTER_{window.name}_LIMIT": limit,
        }
    lines = [f'    printf("{name} %u\\n", (unsigned){name});' for name in expected]
    body = "\n".join(lines)
    source = folder / "print.c"
    source.write_text(
        f'#include <stdio.h>\n#include "sievit_registers.h"\nint main(void)\n{{\n{body}\n'
        "    return 0;\n}\n"
    )
    subprocess.run(["cc", *STRICT, "-o", folder / "print", source], check=True)
    printed = subprocess.run([folder / "print"], check=True, capture_output=True, text=True).stdout
    found = {name: int(value) for name, value in map(str.split, printed.splitlines())}
    assert found == expected
    defined = set(re.findall(r"#define (SIEVIT_\w+) ", c_header()))
    rest = {"SIEVIT_ALIGNMENT_BYTES", "SIEVIT_WINDOW_COUNT", "SIEVIT_COUNTER_COUNT"}
    assert defined - set(expected) == rest | {"SIEVIT_COUNTER_BITS"}


@pytest.mark.parametrize("compiler", [["c++", "-std=c++11", "-x", "c++"], ["cc", *STRICT, "-O2"]])
def test_other_compilers(compiler, folder):
    source = SOURCES / "sievit_driver.c"
    checks = ["-Wall", "-Wextra", "-Werror", "-Wconversion", "-Wshadow", "-fsyntax-only"]
    subprocess.run([*compiler, *checks, f"-I{folder}", source], check=True)
