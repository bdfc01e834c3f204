"""The register map in other formats: every register of the specification, at its address."""

import ctypes
import re
import subprocess
import xml.etree.ElementTree as ElementTree

import pytest

from export.register_map import register_names
from spec.presets import preset
from spec.registers import REGISTERS, Control, Error, Status

NAMESPACE = {"x": "http://www.accellera.org/XMLSchema/IPXACT/1685-2014"}


@pytest.fixture(scope="module")
def registers(bundle):
    return bundle / "registers"


def test_the_map_is_the_specification():
    names = register_names()
    assert {name: names[name] for name in REGISTERS} == REGISTERS
    assert len(set(names.values())) == len(names)
    assert all(address % 4 == 0 and address < 1 << 12 for address in names.values())


def test_systemrdl_compiles(registers):
    from systemrdl.compiler import RDLCompiler
    from systemrdl.node import RegNode

    compiler = RDLCompiler()
    compiler.compile_file(str(registers / "sievit.rdl"))
    top = compiler.elaborate().top
    found = {node.inst_name: node for node in top.children() if isinstance(node, RegNode)}
    assert {name: node.absolute_address for name, node in found.items()} == register_names()
    digest = preset("tiny").digest()
    for name, value in (
        ("CONFIG_DIGEST_LOW", digest & 0xFFFFFFFF),
        ("CONFIG_DIGEST_HIGH", digest >> 32),
    ):
        assert next(iter(found[name].fields())).get_property("reset") == value
    for kind, name in ((Control, "CONTROL"), (Status, "STATUS")):
        bits = {field.inst_name: 1 << field.low for field in found[name].fields()}
        assert bits == {flag.name: flag.value for flag in kind}
    codes = next(iter(found["ERROR_CODE"].fields())).get_property("encode")
    assert {code.name: code.value for code in codes} == {e.name: e.value for e in Error}


def test_ip_xact_has_every_register(registers):
    root = ElementTree.parse(registers / "sievit.xml").getroot()
    found = {}
    for register in root.iter(f"{{{NAMESPACE['x']}}}register"):
        offset = register.findtext("x:addressOffset", namespaces=NAMESPACE)
        name = register.findtext("x:name", namespaces=NAMESPACE)
        found[name] = int(offset.replace("'h", "0x"), 0)
    assert found == register_names()
    assert root.findtext("x:vendor", namespaces=NAMESPACE) == "sievit"


def test_the_pages_name_every_register(registers):
    text = "".join(path.read_text() for path in (registers / "html" / "content").glob("*.html"))
    assert [name for name in register_names() if name not in text] == []


def compiled(tmp_path, source, *arguments):
    """A C source as a shared library."""
    (tmp_path / "test.c").write_text(source)
    command = ["cc", "-std=c11", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", *arguments]
    subprocess.run([*command, "test.c", "-o", "test.so"], cwd=tmp_path, check=True)
    return ctypes.CDLL(str(tmp_path / "test.so"))


def test_the_structures_of_c_have_the_addresses(registers, tmp_path):
    names = register_names()
    rows = ", ".join(f"offsetof(sievit_t, {name})" for name in names)
    library = compiled(
        tmp_path,
        f"#include <stddef.h>\n#include <sievit_map.h>\nunsigned long at[] = {{{rows}}};\n",
        f"-I{registers}",
    )
    found = (ctypes.c_ulong * len(names)).in_dll(library, "at")
    assert dict(zip(names, found, strict=True)) == names


def test_the_constants_of_c_have_the_addresses(registers, tmp_path):
    driver = registers.parent / "driver"
    text = (driver / "sievit_registers.h").read_text()
    macros = re.findall(r"^#define (SIEVIT_REGISTER_\w+) ", text, re.MULTILINE)
    rows = ", ".join(macros)
    library = compiled(
        tmp_path, f"#include <sievit_registers.h>\nunsigned at[] = {{{rows}}};\n", f"-I{driver}"
    )
    found = (ctypes.c_uint * len(macros)).in_dll(library, "at")
    names = [macro.removeprefix("SIEVIT_REGISTER_") for macro in macros]
    addresses = register_names()
    assert set(REGISTERS) <= set(names)
    assert dict(zip(names, found, strict=True)) == {name: addresses[name] for name in names}


def test_the_driver_compiles_as_it_stands(registers, tmp_path):
    source = (registers.parent / "driver" / "sievit_driver.c").read_text()
    assert compiled(tmp_path, source, f"-I{registers.parent / 'driver'}")
