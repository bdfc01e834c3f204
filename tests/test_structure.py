"""What the tree must look like: who imports whom, what comes in pairs, how long a file may be."""

import ast
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = {
    "spec",
    "golden_model",
    "quantize",
    "training",
    "compiler",
    "rtl_gen",
    "perf_model",
    "sim",
    "search",
    "export",
    "host",
    "boards",
    "cli",
    "tests",
}
ALLOWED = {
    "spec": set(),
    "golden_model": {"spec"},
    "quantize": {"spec", "golden_model"},
    "training": {"spec", "golden_model", "quantize", "perf_model"},
    "compiler": {"spec"},
    "rtl_gen": {"spec"},
    "perf_model": {"spec", "compiler", "rtl_gen"},
    "host": {"spec", "golden_model"},
    "sim": PACKAGES - {"cli", "tests", "training", "export", "search"},
    "search": {"spec", "golden_model", "quantize", "compiler", "perf_model", "sim"},
    "export": {"spec", "golden_model", "compiler", "rtl_gen", "perf_model", "sim"},
    "boards": PACKAGES - {"cli", "tests", "training", "search"},
    "cli": PACKAGES - {"tests"},
}
"""Package -> our other packages it may import."""
HEAVY = {
    "torch": {"training"},
    "cocotb": {"sim"},
    "cocotbext": {"sim"},
    "serial": {"host"},
    "amaranth_boards": {"boards"},
    "systemrdl": {"export"},
    "peakrdl_html": {"export"},
    "peakrdl_ipxact": {"export"},
    "peakrdl_cheader": {"export"},
    "optuna": {"search"},
    "distributed": {"search"},
}
"""Package that only some of ours may import, at any depth."""
LAZY = PACKAGES - {"cli", "spec"}
"""The command line imports these inside its functions, so that `--help` is fast."""
UNPAIRED = {
    "matmul": "the exact product of whole matrices is the array's job, checked by tb_pe_array",
    "bit_length": "a priority encoder inside reciprocal's, isqrt's and softmax's users",
}
"""Golden units without a component and bench of their own, and why."""
BENCHED_BY = {}
"""Golden unit -> bench that covers it, where the bench has another name, with the reason there."""
LONGEST = 400


def files(*suffixes):
    """Files of the tree that are, or would be, in git."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
    ).stdout.decode()
    paths = sorted({ROOT / name for name in listed.split("\0") if name})
    return [path for path in paths if path.is_file() and path.suffix in suffixes]


def imports(path):
    """Top-level packages a file imports: (name, line, at module level)."""
    tree = ast.parse(path.read_text(), str(path))
    top = set(map(id, tree.body))
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names = [node.module or ""]
        else:
            continue
        for name in names:
            yield name.partition(".")[0], node.lineno, id(node) in top


def modules():
    return [(path, path.relative_to(ROOT).parts[0]) for path in files(".py")]


def test_packages_import_only_what_they_may():
    wrong = [
        f"{path.relative_to(ROOT)}:{line}: {package} must not import {name}"
        for path, package in modules()
        for name, line, _ in imports(path)
        if package in ALLOWED
        and name in PACKAGES
        and name != package
        and name not in ALLOWED[package]
    ]
    assert wrong == []


def test_heavy_packages_stay_where_they_belong():
    wrong = [
        f"{path.relative_to(ROOT)}:{line}: {name}"
        for path, package in modules()
        for name, line, _ in imports(path)
        if package in ALLOWED and package not in HEAVY.get(name, PACKAGES)
    ]
    assert wrong == []


def test_the_command_line_imports_lazily():
    wrong = [
        f"{path.relative_to(ROOT)}:{line}: import {name} inside the function that needs it"
        for path, package in modules()
        for name, line, at_top in imports(path)
        if package == "cli" and at_top and name in LAZY
    ]
    assert wrong == []


def golden_units():
    folder = ROOT / "golden_model" / "units"
    return sorted(path.stem for path in folder.glob("*.py") if path.stem != "__init__")


@pytest.mark.parametrize("unit", golden_units())
def test_golden_units_have_a_component_and_a_bench(unit):
    if unit in UNPAIRED:
        return
    components = list((ROOT / "rtl_gen").rglob(f"{unit}.py"))
    assert components, f"no rtl_gen/**/{unit}.py beside golden_model/units/{unit}.py"
    bench = BENCHED_BY.get(unit, f"tb_{unit}")
    assert (ROOT / "sim" / "units" / f"{bench}.py").exists(), f"no sim/units/{bench}.py"


def test_exceptions_of_the_pairing_exist():
    assert set(UNPAIRED) | set(BENCHED_BY) <= set(golden_units())


def test_files_are_short():
    long = {
        str(path.relative_to(ROOT)): count
        for path in files(".py", ".v", ".sh")
        if (count := len(path.read_text().splitlines())) > LONGEST
    }
    assert long == {}


def test_no_machine_paths_and_no_loose_ends():
    bad = re.compile(
        r"(?<![\w.])/(?:" + "work|root|home|tmp" + r")/\w" + r"|\b" + "TO" + r"DO\b" + "|FIX" + "ME"
    )
    wrong = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in files(".py", ".v", ".sh", ".md", ".toml", ".vlt", ".json", "")
        for number, line in enumerate(_lines(path), 1)
        if bad.search(line)
    ]
    assert wrong == []


def _lines(path):
    try:
        return path.read_text().splitlines()
    except UnicodeDecodeError:
        return []
