"""One bundle for all tests, and copies of it to change."""

import shutil
from functools import cache

import pytest

from cli.options import EXTRAS, installed, load_dataset, load_model
from spec.presets import preset


@pytest.fixture(scope="session")
def bundle(tmp_path_factory):
    """The bundle of `tiny` and `micro`, two images; do not change it."""
    missing = [name for name in EXTRAS["export"] if not installed(name)]
    if missing:
        pytest.skip(f"{', '.join(missing)} not installed (extra export)")
    from export import bundle as module

    # Emission takes seconds, and tests of its own say that it repeats itself
    module.verilog = cache(module.verilog)
    model = load_model("micro")
    images = load_dataset("sample", "test", model.config).images[:2]
    folder = tmp_path_factory.mktemp("export") / "sievit-tiny"
    module.write_bundle(folder, preset("tiny"), model, "micro", images)
    return folder


@pytest.fixture
def copied(bundle, tmp_path):
    """A copy of the bundle."""
    return shutil.copytree(bundle, tmp_path / "bundle")
