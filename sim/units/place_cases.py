"""A token memory that is one list of places, origins, and where the golden machine puts rows."""

import dataclasses
from typing import Any

import numpy as np

from golden_model.machine_lists import place_rows
from golden_model.machine_memory import MachineError, Memories
from sim.bench import seeded
from spec.masks import POSITION, POSITION_BYTES
from spec.presets import PRESETS
from spec.registers import Error

__all__ = ["Lists"]

_PRESET = {8: "tiny", 64: "asic512"}
"""Lanes -> a machine with as many, and with the same banks."""


class Lists:
    """Token memory full of places, now and then a bad one, and rows of any origin."""

    def __init__(self, seed: int, *, lanes: int, bad: float) -> None:
        numbers = np.random.default_rng(seeded(seed))
        config = dataclasses.replace(PRESETS[_PRESET[lanes]], name="bench")
        self.banks = config.banks
        self._memory = memory = Memories(config, {}, seed=seeded(seed))
        memory.origin = numbers.permutation(config.max_tokens)
        words = numbers.integers(0, 1 << 16, memory.token.size // 2)
        bank, group = (POSITION[name] for name in ("bank", "group"))
        words &= ~((0xC0 << group.offset) | (0xF << bank.offset)) | config.banks - 1 << bank.offset
        wild = numbers.random(len(words)) < bad
        words[wild] = numbers.integers(0, 1 << 16, int(wild.sum()))
        memory.token[:] = words.astype("<u2").view(np.uint8).reshape(memory.token.shape)

    @property
    def words(self) -> int:
        """Words of token memory."""
        return len(self._memory.token)

    def origin(self, row: int) -> int:
        """The token that a row is."""
        return int(self._memory.origin[row])

    def word(self, address: int) -> int:
        """Of token memory; 0 where there is none."""
        if address >= self.words:
            return 0
        return int.from_bytes(self._memory.token[address].tobytes(), "little")

    def places(self, command: dict[str, Any]) -> list[dict[str, int]]:
        """Of a command's rows, each by itself: bank, group, all_banks, bad (then no others).

        With `all_banks` the bank is that of the entry.
        """
        memory, origin = self._memory, self._memory.origin
        memory.sieve = {"positions": command["positions"]}
        found = []
        for row in range(command["rows"]):
            memory.origin = origin[row:]
            try:
                bank, group = (int(value[0]) for value in place_rows(memory, 1))
            except MachineError as error:
                if error.code != Error.INDEX:
                    raise
                found.append({"bad": 1})
                continue
            everywhere, per_word = int(bank < 0), memory.config.lanes // POSITION_BYTES
            if everywhere:
                word = self.word(command["positions"] + origin[row] // per_word)
                entry = word >> int(origin[row]) % per_word * POSITION.size
                bank = entry >> POSITION["bank"].offset & self.banks - 1
            found.append({"bank": bank, "group": group, "all_banks": everywhere, "bad": 0})
        memory.origin = origin
        return found
