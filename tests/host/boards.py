"""Boards of software for the tests: behind pseudo-terminals, and behind bad lines."""

import os
import random
import select
import threading
import tty
from functools import cache

from cli.options import load_dataset, load_model
from compiler import compile
from host.board_twin import BoardTwin, TwinTransport
from spec.link import TIMEOUT_S
from spec.pixels import patches_of
from spec.presets import preset

TINY = preset("tiny")
MEMORY_BYTES = 16_384


@cache
def micro():
    """The image of micro for tiny, and four inputs."""
    model = load_model("micro")
    images = load_dataset("sample", "test", model.config).first(4).images
    return compile(model, TINY), list(patches_of(images, model.config))


def twin(**options):
    return BoardTwin(TINY, MEMORY_BYTES, **options)


class BadLine(TwinTransport):
    """Drops, flips and injects bytes both ways, with a chance in 10,000 each per byte."""

    def __init__(self, board, seed, *, drop=0, flip=0, inject=0):
        super().__init__(board)
        self.random, self.chances = random.Random(seed), (drop, flip, inject)
        self.changed = 0

    def disturb(self, content):
        drop, flip, inject = self.chances
        out = bytearray()
        for byte in content:
            if self.random.randrange(10_000) < inject:
                out.append(self.random.randrange(256))
                self.changed += 1
            if self.random.randrange(10_000) < flip:
                byte ^= 1 << self.random.randrange(8)
                self.changed += 1
            if self.random.randrange(10_000) < drop:
                self.changed += 1
                continue
            out.append(byte)
        return bytes(out)

    def write(self, content):
        super().write(self.disturb(content))

    def read(self, count, timeout_s):
        if len(self._waiting) < count and timeout_s >= TIMEOUT_S:
            self._waiting += self.disturb(self.board.silence())
        return super().read(count, timeout_s)


class BadBothWays(BadLine):
    """Likewise, and the replies too."""

    def write(self, content):
        before = len(self._waiting)
        super().write(content)
        self._waiting = self._waiting[:before] + self.disturb(self._waiting[before:])


class PtyBoard:
    """A twin behind a pseudo-terminal, in real time: `port` is what a serial port is opened by."""

    def __init__(self, board, disturb=bytes):
        self.board, self.disturb = board, disturb
        self.master, self.slave = os.openpty()
        tty.setraw(self.slave)
        self.port = os.ttyname(self.slave)
        self.dead, self.ended = False, threading.Event()
        self.thread = threading.Thread(target=self.serve, daemon=True)

    def serve(self):
        while not self.ended.is_set():
            ready, _, _ = select.select([self.master], [], [], TIMEOUT_S)
            content = os.read(self.master, 4096) if ready else b""
            if self.dead:
                continue
            content = self.disturb(content)
            reply = self.board.receive(content) if ready else self.board.silence()
            if reply:
                os.write(self.master, self.disturb(reply))

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.ended.set()
        self.thread.join(5)
        os.close(self.master)
        os.close(self.slave)
