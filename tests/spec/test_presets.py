"""Presets by name, and with other parameters."""

from dataclasses import asdict, fields, replace

import pytest

from spec.config import Config, ConfigError
from spec.presets import PRESETS, preset

UNSAFE = set(" ,=/\\:$#%\"'*?")


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_by_its_name(name):
    assert preset(name) is PRESETS[name]
    assert preset(name).file_name == name


def test_other_parameters():
    machine = preset("asic512,bus_bits=256,cls_scores=off,token_selector=off")
    wanted = replace(
        PRESETS["asic512"], name="", bus_bits=256, token_selector=False, cls_scores=False
    )
    assert asdict(machine) | {"name": ""} == asdict(wanted)
    assert machine.name == "asic512,bus_bits=256,token_selector=off,cls_scores=off"
    assert machine.digest() != PRESETS["asic512"].digest()


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("asic512,bus_bits=128", "asic512"),
        ("ulx3s,register_operands=on", "ulx3s"),
        ("asic512,bus_bits= 2_56", "asic512,bus_bits=256"),
        ("asic512,row_words=384,bus_bits=256", "asic512,bus_bits=256,row_words=384"),
    ],
)
def test_a_machine_has_one_name(text, same):
    assert preset(text) == preset(same)
    assert preset(text).name == same


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("huge", "no preset 'huge'; there are asic512, small, tiny, ulx3s, zcu102"),
        ("huge,bus_bits=256", "no preset 'huge'"),
        ("tiny,", "preset 'tiny,': no parameter ''; there are banks, lanes"),
        ("tiny,name=big", "no parameter 'name'"),
        ("tiny,bus=64", "no parameter 'bus'; there are banks, lanes, vector_lanes"),
        ("tiny,lanes", "preset 'tiny,lanes': lanes must be an integer, not ''"),
        ("tiny,lanes=many", "lanes must be an integer, not 'many'"),
        ("tiny,lanes=1.5", "lanes must be an integer, not '1.5'"),
        ("tiny,lanes=16,lanes=32", "preset 'tiny,lanes=16,lanes=32': lanes is given twice"),
        ("tiny,cls_scores=1", "cls_scores must be on or off, not '1'"),
        ("tiny,token_selector=off", "preset 'tiny,token_selector=off': cls_scores needs token_s"),
        ("tiny,bus_bits=96", "preset 'tiny,bus_bits=96': bus_bits must be a power of two, not 96"),
        ("tiny,banks=0", "preset 'tiny,banks=0': banks must be positive, not 0"),
        ("tiny,logic_lanes=9", "logic_lanes must lie in 0..8 (lanes), not 9"),
        ("tiny,counter_bits=49", "counter_bits must lie in 16..48, not 49"),
    ],
)
def test_what_is_no_machine(text, message):
    with pytest.raises(ConfigError) as found:
        preset(text)
    assert message in str(found.value)
    assert "\n" not in str(found.value)


def test_names_of_files_are_safe_and_differ():
    texts = [*PRESETS, "tiny,row_words=1024", "tiny,row_words=102", "tiny,token_words=1024"]
    texts += ["tiny,row_words=1024,token_words=1024", "tiny,cls_scores=off"]
    names = [preset(text).file_name for text in texts]
    assert len(set(names)) == len(names)
    assert not UNSAFE & set("".join(names))
    assert preset("tiny,row_words=1024,cls_scores=off").file_name == (
        "tiny+row_words-1024+cls_scores-off"
    )


def test_long_names_of_files_end_in_a_digest():
    numbers = [
        field.name
        for field in fields(Config)
        if field.name.endswith(("_words", "_tables", "_depth"))
    ]
    machines = [
        preset(",".join(["tiny", *(f"{name}={value}" for name in numbers)])) for value in (64, 128)
    ]
    assert all(len(machine.name) > 80 for machine in machines)
    names = [machine.file_name for machine in machines]
    assert [len(name) for name in names] == [80, 80]
    assert names[0] != names[1]
    assert not UNSAFE & set("".join(names))
