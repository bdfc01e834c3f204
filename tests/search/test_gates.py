"""The gate estimate against machines that were synthesised, and the energy proxy's arithmetic."""

import pytest

from perf_model.energy import HOROWITZ, EnergyCosts, energy_proxy
from search.gate_samples import SAMPLES
from search.gates import SRAM_NAND2, estimate_gates, fit
from spec.presets import preset

ERROR = 0.06
"""Of the logic, as `docs/search.md` says."""
UNSEEN_ERROR = 0.1
"""Likewise of a machine that the fit was made without."""
SRAM_ERROR = 0.05


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.preset)
def test_logic_of_synthesised_machines(sample):
    found = estimate_gates(preset(sample.preset))
    assert found.logic == pytest.approx(sample.logic, rel=ERROR)
    assert found.sram_bits == pytest.approx(sample.sram_bits, rel=SRAM_ERROR)
    assert found.total == found.logic + found.sram_bits * SRAM_NAND2


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.preset)
def test_a_machine_that_the_fit_has_not_seen(sample):
    others = fit([other for other in SAMPLES if other is not sample])
    found = estimate_gates(preset(sample.preset), others)
    assert found.logic == pytest.approx(sample.logic, rel=UNSEEN_ERROR)


@pytest.mark.parametrize("change", ["banks=8", "lanes=16", "vector_lanes=8", "norm_lanes=8"])
def test_more_of_anything_is_more(change):
    more, less = (estimate_gates(preset(text)) for text in (f"tiny,{change}", "tiny"))
    assert more.logic > less.logic


def test_sieves_cost_gates():
    every = estimate_gates(preset("asic512")).logic
    for field in ("zero_skip", "attention_masks", "thresholds"):
        assert estimate_gates(preset(f"asic512,{field}=off")).logic < every


def test_energy_proxy():
    costs = EnergyCosts(mac_pj=1, sram_byte_pj=10, dram_byte_pj=100)
    assert energy_proxy(macs=1e6, sram_bytes=2e6, dram_bytes=3e6, costs=costs) == 1 + 20 + 300
    whole = energy_proxy(macs=1e6, sram_bytes=8e6, dram_bytes=8e6)
    assert whole == pytest.approx(0.3 + 10 + 1300)
    assert HOROWITZ.dram_byte_pj > 100 * HOROWITZ.sram_byte_pj
