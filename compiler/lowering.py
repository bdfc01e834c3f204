"""First step: the network as layers of column blocks, in the hardware's packing; no addresses."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from compiler.layers import Attention, Block, Head, Layer, Linear, Lowered, Norm, Role, View
from compiler.mask_lists import MAX_REPLICATED
from compiler.packing import HeadPacking, words
from compiler.pooling import mean_layers
from compiler.selector import check_stages, select_layer, selector_layers
from compiler.sieving import key_groups, sieved
from spec.config import Config
from spec.image import TensorPart
from spec.isa import Activation, Destination, ScoreUse
from spec.model_file import Model

__all__ = ["lower"]


def lower(model: Model, config: Config, replicated: int = MAX_REPLICATED) -> Lowered:
    """Split every layer into column blocks and bring heads into the hardware's packing.

    model : of one effort
    replicated : keys of a masked block that may lie in all banks
    """
    shape = model.config
    (effort,) = shape.passes
    lanes = config.lanes
    check_stages(model, config)
    packing = HeadPacking(
        lanes=lanes,
        heads=shape.heads,
        head_dim=shape.head_dim,
        head_groups=config.head_groups,
    )
    source = _Lowering(model, config, packing)
    dim_words = words(shape.embed_dim, lanes)
    position = np.zeros((shape.tokens, dim_words * lanes), np.int16)
    position[:, : shape.embed_dim] = model["embed.position"]
    layers: list[Layer] = [
        source.linear("patch_embed", Role.PATCH, "patches", "residual", Destination.RESIDUAL)
    ]
    stages = {stage.block: stage for stage in shape.stages}
    for n in range(shape.depth):
        block = f"blocks.{n}"
        selected = n in stages
        if selected:
            if stages[n].rule == "selector":
                layers += selector_layers(model, source.norm(f"{block}.norm1"), n, lanes)
            layers.append(select_layer(model, stages[n], lanes))
        attends = n not in effort.skipped
        if attends:
            layers.append(replace(source.norm(f"{block}.norm1"), behind_select=selected))
            scored = n + 1 in stages and stages[n + 1].rule == "cls_attention"
            layers += source.attention(f"{block}.attn", scored, behind_select=selected)
            layers.append(source.proj(f"{block}.attn.proj"))
        first = selected and not attends
        layers.append(replace(source.norm(f"{block}.norm2"), behind_select=first))
        stays = f"blocks.{n + 1}.selector.tokens" if n + 1 in stages else ""
        last = n == shape.depth - 1
        layers += source.mlp(f"{block}.mlp", last, stays, behind_select=first)
    layers.append(source.norm("norm", for_head=True))
    layers += source.head_layers()
    part = TensorPart(
        pc=0,
        memory="token",
        words=2 * dim_words,
        bits=16,
        rows=shape.prefix_tokens,
        count=shape.embed_dim,
    )
    done = sieved(layers, model, config, packing, replicated)
    return Lowered(
        model=model,
        lanes=lanes,
        packing=packing,
        position=position,
        position_views=(("patch_embed", part),) if shape.prefix_tokens else (),
        layers=done,
        key_groups=key_groups(done, shape.tokens, config.banks),
    )


class _Lowering:
    """The model, and the few operations that make layers of it."""

    def __init__(self, model: Model, config: Config, packing: HeadPacking) -> None:
        self.model, self.packing = model, packing
        self.banks, self.lanes = config.banks, config.lanes
        self.head_groups = config.head_groups
        self.shape = model.config

    def block(
        self,
        name: str,
        channels: NDArray[np.int64],
        word: int,
        views: tuple[View, ...],
        weight: NDArray[np.int8] | None = None,
        group_words: int = 1,
    ) -> Block:
        """The outputs `channels` (-1: an unused lane) of layer `name` as a block.

        channels : int64 [groups * lanes]
        """
        used, groups = channels >= 0, len(channels) // self.lanes

        def pick(values: NDArray[np.generic]) -> NDArray[np.int64]:
            return np.where(used, values[..., channels], 0)

        weight = self.model[f"{name}.weight"] if weight is None else weight
        return Block(
            weight=pick(weight).astype(np.int8),
            addend=pick(self.model[f"{name}.bias"]).astype(np.int64),
            multiplier=pick(self.model[f"{name}.mult"]).astype(np.int64),
            shift=pick(self.model[f"{name}.shift"]).astype(np.int64),
            columns=(groups - 1) * self.lanes + int(used[-self.lanes :].sum()),
            word=word,
            views=views,
            groups=groups,
            group_words=group_words if groups > 1 else 0,
        )

    def blocks(
        self,
        name: str,
        outputs: int,
        rows: int,
        row: int = 0,
        wide: bool = False,
        weight: NDArray[np.int8] | None = None,
    ) -> tuple[Block, ...]:
        """All outputs of a layer in their own order, `lanes` of each head group a block."""
        out, size, result_words = [], self.head_groups * self.lanes, 2 if wide else 1
        for start in range(0, outputs, size):
            groups = min(self.head_groups, words(outputs - start, self.lanes))
            channels = np.arange(start, start + groups * self.lanes)
            channels = np.where(channels < outputs, channels, -1)
            part = TensorPart(
                pc=0,
                memory="token",
                words=groups * result_words,
                bits=16 if wide else 8,
                row=row,
                rows=rows,
                channel=start,
                count=min(size, outputs - start),
            )
            word = start // self.lanes * result_words
            views = ((name, part),)
            out.append(self.block(name, channels, word, views, weight, result_words))
        return tuple(out)

    def linear(
        self, name: str, role: Role, source: str, target: str, destination: Destination
    ) -> Linear:
        """A layer of all inputs in their order; the patch layer skips the prefix rows."""
        is_patch = role == Role.PATCH
        rows = self.shape.patches if is_patch else self.shape.tokens
        first = self.shape.prefix_tokens if is_patch else 0
        wide = destination in (Destination.RESIDUAL, Destination.WIDE)
        return Linear(
            name=name,
            role=role,
            source=source,
            target=target,
            destination=destination,
            blocks=self.blocks(name, self.shape.embed_dim, rows, first, wide),
        )

    def head_layers(self) -> list[Layer]:
        """The head over one row, behind the pooling."""
        shape, pooling = self.shape, self.shape.pooling
        weight = self.model["head.weight"]
        if pooling == "distilled":
            # Two rows of whole words behind each other: the lanes between them have no weight.
            padded = words(shape.embed_dim, self.lanes) * self.lanes
            cls_weight, dist_weight = np.split(weight, 2)
            gap = np.zeros((padded - shape.embed_dim, shape.classes), np.int8)
            weight = np.concatenate([cls_weight, gap, dist_weight])
        head = Linear(
            name="head",
            role=Role.HEAD,
            source="pool" if pooling == "mean" else "norm",
            target="result",
            destination=Destination.WIDE,
            blocks=self.blocks("head", shape.classes, 1, wide=True, weight=weight),
            first_reader=pooling == "token",
        )
        return [*(mean_layers(self.model, self.lanes) if pooling == "mean" else ()), head]

    def norm(self, name: str, for_head: bool = False) -> Norm:
        """A LayerNorm with its tables padded to whole words."""
        dim_words = words(self.shape.embed_dim, self.lanes)
        pad = (0, dim_words * self.lanes - self.shape.embed_dim)
        gain = self.model[f"{name}.gain"].astype(np.int64)
        shift = np.full_like(gain, int(self.model[f"{name}.shift"][0]))
        part = TensorPart(
            pc=0,
            memory="token",
            words=dim_words,
            rows=len(self.shape.head_rows) if for_head else self.shape.tokens,
            count=self.shape.embed_dim,
        )
        return Norm(
            name=name,
            for_head=for_head,
            gain=np.pad(gain, pad),
            offset=np.pad(self.model[f"{name}.offset"].astype(np.int64), pad),
            shift=np.pad(shift, pad),
            epsilon=int(self.model[f"{name}.epsilon"][0]),
            views=((name, part),),
        )

    def attention(self, name: str, scored: bool, behind_select: bool) -> list[Layer]:
        """Q, K, V and the heads, group by group (round by round).

        scored : the heads' attention of CLS makes the scores of a selection
        """
        layers: list[Layer] = []
        for groups in self.packing.rounds:
            for index, (role, target) in enumerate(
                ((Role.QUERY, "query"), (Role.KEY, "key"), (Role.VALUE, "value"))
            ):
                on_chip = role != Role.QUERY
                layers.append(
                    Linear(
                        name=f"{name}.qkv",
                        role=role,
                        source="norm",
                        target=target,
                        destination=Destination.ROWS if on_chip else Destination.TOKENS,
                        blocks=tuple(
                            self.projection(name, index, groups, word)
                            for word in range(self.packing.head_words)
                        ),
                        first_reader=role == Role.QUERY and groups[0] == 0,
                        behind_select=behind_select and role == Role.QUERY and groups[0] == 0,
                        last_value=role == Role.VALUE and groups[-1] == self.packing.groups - 1,
                    )
                )
            heads = [
                self.heads_beside(name, groups, number)
                for number in range(len(self.packing.heads_of(groups[0])))
            ]
            if scored:
                heads = [replace(head, scores=ScoreUse.ADD) for head in heads]
                if groups[0] == 0:
                    heads[0] = replace(heads[0], scores=ScoreUse.SET)
            layers.append(
                Attention(
                    name=name,
                    heads=tuple(heads),
                    last_group=groups[-1] == self.packing.groups - 1,
                )
            )
        return layers

    def projection(self, name: str, index: int, groups: range, word: int) -> Block:
        """Word `word` of the Q (index 0), K (1) or V (2) of groups of heads, side by side."""
        packing, tokens = self.packing, self.shape.tokens
        channels = np.concatenate([packing.channels(group, word) for group in groups])
        views = []
        for number, group in enumerate(groups):
            for head in packing.heads_of(group):
                start = word * self.lanes
                part = TensorPart(
                    pc=0,
                    memory="row" if index else "token",
                    words=1 if index else len(groups),
                    group=number if index else 0,
                    rows=tokens,
                    lane=packing.first_lane(head) + (0 if index else number * self.lanes),
                    channel=head * self.shape.head_dim + start,
                    count=min(self.lanes, self.shape.head_dim - start),
                )
                views.append((f"{name}.{'qkv'[index]}", part))
        moved = np.where(channels >= 0, channels + index * self.shape.attention_dim, -1)
        group_words = 1 if index else packing.head_words
        return self.block(f"{name}.qkv", moved, word, tuple(views), group_words=group_words)

    def heads_beside(self, name: str, groups: range, number: int) -> Head:
        """Head `number` of each group of heads that has one: what one ATTENTION does."""
        heads = [
            heads[number] for heads in map(self.packing.heads_of, groups) if number < len(heads)
        ]
        first, *others = (
            self.head(name, head, place, len(heads)) for place, head in enumerate(heads)
        )
        views = tuple(view for head in (first, *others) for view in head.views)
        return replace(first, views=views, beside=tuple(others))

    def head(self, name: str, head: int, place: int, beside: int) -> Head:
        """One head's scales and what it makes, in head group `place` of `beside` at work."""
        tokens, packing = self.shape.tokens, self.packing
        word = head // packing.heads_per_group * packing.head_words
        views: list[View] = []
        for tensor, memory, bits in (("logits", "score", 16), ("probs", "prob", 8)):
            part = TensorPart(
                pc=0,
                memory=memory,
                words=words(tokens, self.banks),
                bits=bits,
                group=place,
                rows=tokens,
                plane=head,
                count=tokens,
            )
            views.append((f"{name}.{tensor}", part))
        context = TensorPart(
            pc=0,
            memory="token",
            words=beside * packing.head_words,
            rows=tokens,
            lane=place * packing.head_words * self.lanes + packing.first_lane(head),
            channel=head * self.shape.head_dim,
            count=self.shape.head_dim,
        )
        views.append((f"{name}.context", context))
        return Head(
            first_lane=packing.first_lane(head),
            word=word,
            score_multiplier=int(self.model[f"{name}.score_mult"][head]),
            score_shift=int(self.model[f"{name}.score_shift"][head]),
            output_multiplier=int(self.model[f"{name}.out_mult"][head]),
            output_shift=int(self.model[f"{name}.out_shift"][head]),
            views=tuple(views),
        )

    def proj(self, name: str) -> Linear:
        """The output projection; its weight rows follow the packing of the context."""
        channels = self.packing.context_channels()
        weight = self.model[f"{name}.weight"]
        packed = np.where((channels >= 0)[:, None], weight[channels], 0).astype(np.int8)
        return Linear(
            name=name,
            role=Role.PROJ,
            source="context",
            target="residual",
            destination=Destination.RESIDUAL,
            blocks=self.blocks(
                name, self.shape.embed_dim, self.shape.tokens, wide=True, weight=packed
            ),
        )

    def mlp(self, name: str, last: bool, stays: str, behind_select: bool) -> list[Layer]:
        """fc1 with the activation in its epilogue, and fc2.

        stays : the tensor that a selection makes of fc2's: it does not write what stays in place
        """
        activation = Activation[self.shape.activation.upper()]
        is_gelu = activation == Activation.GELU
        multiplier, shift, zero_point = (
            int(self.model[f"{name}.act.{field}"][0]) for field in ("mult", "shift", "zero_point")
        )
        fc1 = Linear(
            name=f"{name}.fc1",
            role=Role.FC1,
            source="norm",
            target="hidden",
            destination=Destination.TOKENS,
            blocks=self.blocks(f"{name}.fc1", self.shape.mlp_dim, self.shape.tokens),
            activation=activation,
            activation_multiplier=multiplier if is_gelu else 0,
            activation_shift=shift if is_gelu else 0,
            activation_zero_point=zero_point if is_gelu else 0,
            first_reader=True,
            behind_select=behind_select,
        )
        blocks = self.blocks(f"{name}.fc2", self.shape.embed_dim, self.shape.tokens, wide=True)
        if stays:
            blocks = tuple(
                replace(block, views=(*block.views, (stays, part)))
                for block in blocks
                for _, part in block.views
            )
        fc2 = Linear(
            name=f"{name}.fc2",
            role=Role.FC2,
            source="hidden",
            target="residual",
            destination=Destination.RESIDUAL,
            blocks=blocks,
            zero_point=zero_point,
            last_writer=last,
            reads_relu=not is_gelu,
        )
        return [fc1, fc2]
