"""The integer network: its tensors, an independent reading of its equations, and its purity."""

import ast
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import golden_model
from golden_model import evaluate, vit
from golden_model.patch_mean import patch_mean
from quantize.float_model import float_model_of
from quantize.tables import multiplier_shift
from spec.formats import NORM, SOFTMAX
from spec.model_file import ModelConfig
from spec.pixels import PixelError
from tests.random_models import CONFIGS, SMALL, random_images, random_model
from tests.shapes import SHAPES, model_of

BANNED = {"float16", "float32", "float64", "mean", "sqrt", "exp", "exp2", "rint", "divide"}
BLOCK_TENSORS = (
    ("norm1", "int8"),
    ("attn.q", "int8"),
    ("attn.k", "int8"),
    ("attn.v", "int8"),
    ("attn.logits", "int16"),
    ("attn.probs", "uint8"),
    ("attn.context", "int8"),
    ("attn.proj", "int16"),
    ("norm2", "int8"),
    ("mlp.fc1", "int8"),
    ("mlp.fc2", "int16"),
)


def shape_of(name: str, config: ModelConfig) -> tuple[int, ...]:
    kind = name.split(".", 2)[-1] if name.startswith("blocks.") else name
    tokens = config.tokens
    return {
        "attn.logits": (config.heads, tokens, tokens),
        "attn.probs": (config.heads, tokens, tokens),
        "mlp.fc1": (tokens, config.mlp_dim),
        "norm": (len(config.head_rows), config.embed_dim),
        "pool": (1, config.embed_dim),
        "head": (config.classes,),
        **{f"attn.{x}": (tokens, config.attention_dim) for x in ("q", "k", "v", "context")},
    }.get(kind, (tokens, config.embed_dim))


@pytest.mark.parametrize("shape", [*CONFIGS, "distilled", "mean", "no_class_token"])
def test_every_tensor_has_its_name_shape_and_dtype(shape):
    config = CONFIGS.get(shape) or SHAPES[shape]
    names, images = [], random_images(config, 3, seed=1)

    def collect(name, array):
        names.append((name, array.dtype.name))
        assert array.shape == (3, *shape_of(name, config)), name

    model = random_model(config) if shape in CONFIGS else model_of(shape)
    logits = vit(model, images, collect)
    blocks = [(f"blocks.{n}.{name}", d) for n in range(config.depth) for name, d in BLOCK_TENSORS]
    pool = [("pool", "int8")] * (config.pooling == "mean")
    ends = [("norm", "int8"), *pool, ("head", "int16")]
    assert names == [("patch_embed", "int16"), *blocks, *ends]
    assert logits.dtype == np.int16


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_images_do_not_depend_on_their_batch(config):
    model, images = random_model(config), random_images(config, 5, seed=2)
    together = vit(model, images)
    assert len(np.unique(together, axis=0)) == 5
    for i in range(5):
        assert (vit(model, images[i : i + 1]) == together[i]).all()
    assert (evaluate(model, images, workers=2).logits == together).all()


def test_evaluate_counts_and_reports():
    model, images = random_model(SMALL), random_images(SMALL, 400)[:, 0]
    done = []
    first = evaluate(model, images, progress=done.append)
    assert first.images == sum(done) == 400
    assert first.correct is None
    labels = first.predictions.copy()
    labels[:100] += 1
    assert evaluate(model, images, labels).correct == 300


def test_images_of_the_wrong_size_are_refused():
    model = random_model(SMALL)
    with pytest.raises(PixelError, match=r"takes images of 1 x 12 x 12 .* not 28 x 28"):
        vit(model, np.zeros((2, 28, 28), np.uint8))
    with pytest.raises(PixelError, match="images must be uint8, not float64"):
        vit(model, np.zeros((2, 12, 12)))


# The same network once more, in plain Python integers, one element at a time ---------------------


def scale(x, multiplier, shift, low, high):
    return min(max((x * multiplier + (1 << shift >> 1)) >> shift, low), high)


class Plain:
    """Reads a model's tensors as nested lists of Python integers."""

    def __init__(self, model):
        self.config = model.config
        self.t = {name: value.tolist() for name, value in model.tensors.items()}
        self.seen = {}

    def linear(self, name, rows, low, high):
        t = self.t
        columns = list(zip(*t[f"{name}.weight"], strict=True))
        table = list(
            zip(t[f"{name}.bias"], t[f"{name}.mult"], t[f"{name}.shift"], columns, strict=True)
        )
        return [
            [
                scale(sum(a * w for a, w in zip(row, column, strict=True)) + b, m, s, low, high)
                for b, m, s, column in table
            ]
            for row in rows
        ]

    def norm(self, name, rows):
        t, dim = self.t, self.config.embed_dim
        fraction_bits = NORM.fraction_bits(dim)
        shift = t[f"{name}.shift"][0]
        out = []
        for row in rows:
            total = sum(row)
            epsilon = t[f"{name}.epsilon"][0]
            variance = max(dim * sum(x * x for x in row) - total * total + epsilon, 1)
            k = (variance.bit_length() + 1) // 2
            normal = variance << (32 - 2 * k) if k <= 16 else variance >> (2 * k - 32)
            root = next(r for r in range(int(normal**0.5) + 2, 0, -1) if r * r <= normal)
            rcp = min(2**31 // root, 65535)
            codes = []
            for c, x in enumerate(row):
                n = dim * x - total
                n = n << (13 - k) if k <= 13 else n >> (k - 13)
                down = 28 - fraction_bits
                y = min(max((n * rcp + (1 << (down - 1))) >> down, -32768), 32767)
                z = y * t[f"{name}.gain"][c] + t[f"{name}.offset"][c]
                codes.append(scale(z, 1, shift, -127, 127))
            out.append(codes)
        return out

    def attention(self, name, rows):
        t, config = self.t, self.config
        qkv = self.linear(f"{name}.qkv", rows, -127, 127)
        context = [[] for _ in rows]
        for head in range(config.heads):
            q, k, v = (
                [
                    row[start : start + config.head_dim]
                    for start in [part * config.attention_dim + head * config.head_dim]
                    for row in qkv
                ]
                for part in range(3)
            )
            mult, shift = (t[f"{name}.score_{x}"][head] for x in ("mult", "shift"))
            for i, query in enumerate(q):
                logits = [
                    scale(
                        sum(a * b for a, b in zip(query, key, strict=True)),
                        mult,
                        shift,
                        -32768,
                        32767,
                    )
                    for key in k
                ]
                probs = []
                for logit in logits:
                    z, f = divmod(max(logits) - logit, 128)
                    e = (SOFTMAX.slope * (SOFTMAX.center - f) ** 2 + SOFTMAX.constant) >> 12
                    probs.append((e + (64 << z)) >> (7 + z))
                total = sum(probs)
                bits = total.bit_length()
                normal = total << (16 - bits) if bits <= 16 else total >> (bits - 16)
                row_mult = min(2**31 // normal, 65535) * t[f"{name}.out_mult"][head] >> 16
                row_shift = bits + t[f"{name}.out_shift"][head] - 1
                for c in range(config.head_dim):
                    acc = sum(p * value[c] for p, value in zip(probs, v, strict=True))
                    context[i].append(scale(acc, row_mult, row_shift, -127, 127))
        self.seen[f"{name}.context"] = context
        return self.linear(f"{name}.proj", context, -32768, 32767)

    def activation(self, name, u):
        w = max(0, 3526 - abs(u))
        w2 = (w * w + 128) >> 8
        h = (w2 * w2 + 32768) >> 16
        g = (u * (65536 - h if u > 0 else h) + 2**13) >> 14
        mult, shift, zero_point = (
            self.t[f"{name}.act.{x}"][0] for x in ("mult", "shift", "zero_point")
        )
        return min(max(scale(g, mult, shift, -(10**9), 10**9) + zero_point, -128), 127)

    def mlp(self, name, rows):
        zero_point = self.t[f"{name}.act.zero_point"][0]
        if self.config.activation == "gelu":
            rows = self.linear(f"{name}.fc1", rows, -32768, 32767)
            rows = [[self.activation(name, u) for u in row] for row in rows]
        else:
            rows = self.linear(f"{name}.fc1", rows, 0, 127)
        self.seen[f"{name}.fc1"] = rows
        rows = [[code - zero_point for code in row] for row in rows]
        return self.linear(f"{name}.fc2", rows, -32768, 32767)

    def add(self, rows, deltas):
        return [
            [min(max(x + d, -32768), 32767) for x, d in zip(row, delta, strict=True)]
            for row, delta in zip(rows, deltas, strict=True)
        ]

    def run(self, image):
        config, size = self.config, self.config.patch_size
        grid = range(0, config.image_size, size)
        patches = [
            [
                channel[y + dy][x + dx] - 128
                for channel in image.tolist()
                for dy in range(size)
                for dx in range(size)
            ]
            for y in grid
            for x in grid
        ]
        position = self.t["embed.position"]
        embedded = self.linear("patch_embed", patches, -32768, 32767)
        h = [position[0], *self.add(position[1:], embedded)]
        for n in range(config.depth):
            block = f"blocks.{n}"
            h = self.add(h, self.attention(f"{block}.attn", self.norm(f"{block}.norm1", h)))
            h = self.add(h, self.mlp(f"{block}.mlp", self.norm(f"{block}.norm2", h)))
            self.seen[f"{block}.mlp.fc2"] = h
        return self.linear("head", self.norm("norm", h[:1]), -32768, 32767)[0]


@pytest.mark.parametrize("name", ["small", "odd"])
@pytest.mark.parametrize("outliers", [False, True])
def test_vit_equals_plain_python_integers(name, outliers):
    config = CONFIGS[name]
    model, images = random_model(config, 3, outliers), random_images(config, 1, seed=4)
    tensors = {}
    logits = vit(model, images, lambda key, array: tensors.update({key: array[0]}))
    plain = Plain(model)
    assert plain.run(images[0]) == logits[0].tolist()
    for key, value in plain.seen.items():
        assert (np.array(value) == tensors[key]).all(), key


def test_golden_code_has_no_floats_and_no_division():
    folder = Path(golden_model.__file__).parent
    checked = 0
    for path in folder.rglob("*.py"):
        if path.name == "matmul.py":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            where = f"{path.name}:{getattr(node, 'lineno', 0)}"
            assert not isinstance(node, ast.Div), where
            if isinstance(node, ast.Constant):
                assert not isinstance(node.value, float), where
            if isinstance(node, ast.Attribute):
                assert node.attr not in BANNED, where
        checked += 1
    assert checked > 15


@pytest.mark.parametrize("rows", [1, 2, 3, 9, 196, 257, 1023])
@pytest.mark.parametrize("ratio", [1.0, 1.7, 13.0])
def test_the_mean_is_within_half_a_code_of_the_real_one(rows, ratio):
    """The reciprocal's relative error of 2**-13.6 adds at most 0.01 of a code."""
    multiplier, shift = multiplier_shift(ratio, "pool", 31)
    model = replace(model_of("mean"), tensors={"pool.mult": multiplier, "pool.shift": shift})
    x = np.random.default_rng(rows).integers(-127, 128, (4, rows, 50)).astype(np.int8)
    x[:, :, 0], x[:, :, 1] = 127, -127
    true = np.clip(x.mean(axis=1, keepdims=True) * ratio, -127, 127)
    got = patch_mean(model, "pool", x)
    assert got.shape == (4, 1, 50)
    assert np.abs(got - true).max() <= 0.51


def test_two_heads_are_their_mean():
    """One layer over both rows is the mean of two, up to the rounding of its weights."""
    model = model_of("distilled")
    floats = float_model_of(model)
    seen = {}
    vit(model, random_images(model.config, 6, seed=2), seen.__setitem__)
    rows = seen["norm"] * np.array(model.scales["norm"])
    first, second = (
        rows[:, index] @ floats[f"{name}.weight"].T + floats[f"{name}.bias"]
        for index, name in enumerate(("head", "head_dist"))
    )
    got = seen["head"] * model.scales["head"]
    assert np.abs(got - (first + second) / 2).max() < 0.02 * np.abs(got).max()
    assert np.abs(got - first).max() > 0.2 * np.abs(got).max()
