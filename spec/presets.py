"""Named machines."""

from spec.config import Config, ConfigError

__all__ = ["PRESETS", "preset"]

PRESETS = {
    config.name: config
    for config in (
        Config(
            name="tiny",
            banks=4,
            lanes=8,
            vector_lanes=4,
            norm_lanes=4,
            score_lanes=4,
            bus_bits=64,
            row_words=512,
            token_words=4096,
            column_tables=8,
            norm_tables=32,
            score_words=32,
            prob_words=32,
        ),
        Config(
            name="ulx3s",
            banks=8,
            lanes=16,
            vector_lanes=4,
            norm_lanes=2,
            score_lanes=4,
            bus_bits=64,
            row_words=512,
            token_words=2048,
            column_tables=8,
            norm_tables=16,
            score_words=32,
            prob_words=32,
            logic_multipliers=True,
            register_operands=True,
        ),
        Config(
            name="asic512",
            banks=8,
            lanes=64,
            vector_lanes=16,
            norm_lanes=16,
            score_lanes=8,
            bus_bits=128,
            row_words=192,
            token_words=3200,
            column_tables=8,
            norm_tables=24,
            score_words=128,
            prob_words=128,
        ),
        Config(
            name="zcu102",
            banks=8,
            lanes=64,
            vector_lanes=8,
            norm_lanes=16,
            score_lanes=8,
            bus_bits=256,
            row_words=512,
            token_words=8704,
            column_tables=8,
            norm_tables=24,
            score_words=128,
            prob_words=128,
            register_operands=True,
            head_groups=3,
        ),
    )
}


def preset(name: str) -> Config:
    """The named preset; `ConfigError` lists the names there are."""
    if name not in PRESETS:
        raise ConfigError(f"no preset '{name}'; there are {', '.join(sorted(PRESETS))}")
    return PRESETS[name]
