"""From a model file and a machine to an image: lower, allocate, schedule, verify, encode."""

from compiler.errors import CompileError
from compiler.pipeline import Compilation, compile, compile_program, compile_steps, model_digest

__all__ = [
    "Compilation",
    "CompileError",
    "compile",
    "compile_program",
    "compile_steps",
    "model_digest",
]
