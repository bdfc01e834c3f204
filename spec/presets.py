"""Named machines."""

from dataclasses import replace

from spec.config import FLAGS, Config, ConfigError

__all__ = ["PRESETS", "changed", "preset"]

SWITCH = {"on": True, "off": False}

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
            zero_skip=True,
            attention_masks=True,
            thresholds=True,
            effort_gate=True,
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
            logic_lanes=8,
            register_operands=True,
            token_selector=False,
            cls_scores=False,
        ),
        Config(
            name="small",
            banks=2,
            lanes=8,
            vector_lanes=1,
            norm_lanes=1,
            score_lanes=1,
            bus_bits=64,
            row_words=512,
            token_words=1024,
            column_tables=8,
            norm_tables=32,
            score_words=32,
            prob_words=32,
            queue_depth=4,
            max_head_dim=16,
            logic_lanes=3,
            counter_bits=32,
            token_selector=False,
            cls_scores=False,
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
            token_words=3168,
            column_tables=8,
            norm_tables=24,
            score_words=128,
            prob_words=128,
            zero_skip=True,
            attention_masks=True,
            thresholds=True,
            effort_gate=True,
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


def preset(text: str) -> Config:
    """A preset by its name, or with other parameters: `NAME,field=value,...`.

    Values are integers, or `on` and `off`. The machine's name lists what differs from the preset,
    in the order of the parameters. `ConfigError` lists the names there are, and says what is wrong
    with a value.
    """
    name, *changes = text.split(",")
    if name not in PRESETS:
        raise ConfigError(f"no preset '{name}'; there are {', '.join(sorted(PRESETS))}")
    values: dict[str, int | bool] = {}
    for change in changes:
        field, _, value = change.partition("=")
        if field == "name" or field not in Config.__dataclass_fields__:
            known = ", ".join(other for other in Config.__dataclass_fields__ if other != "name")
            raise ConfigError(f"preset '{text}': no parameter '{field}'; there are {known}")
        if field in values:
            raise ConfigError(f"preset '{text}': {field} is given twice")
        try:
            values[field] = SWITCH[value] if field in FLAGS else int(value)
        except (KeyError, ValueError):
            kind = "on or off" if field in FLAGS else "an integer"
            raise ConfigError(f"preset '{text}': {field} must be {kind}, not '{value}'") from None
    base = PRESETS[name]
    differing = [
        f"{field}={_text(values[field])}"
        for field in Config.__dataclass_fields__
        if field in values and values[field] != getattr(base, field)
    ]
    return replace(base, name=",".join([name, *differing]), **values) if differing else base


def changed(config: Config, **values: int | bool) -> Config:
    """A machine of `preset` with other parameters; its name is again a text for `preset`."""
    name, *_ = config.name.split(",")
    fields = [field for field in Config.__dataclass_fields__ if field != "name"]
    wanted = {field: getattr(config, field) for field in fields} | values
    base = PRESETS[name]
    changes = [f"{f}={_text(value)}" for f, value in wanted.items() if value != getattr(base, f)]
    return preset(",".join([name, *changes]))


def _text(value: int | bool) -> str:
    if isinstance(value, bool):
        return next(word for word, meant in SWITCH.items() if meant is value)
    return str(value)
