"""The boards that `sievit build` knows, one small file each."""

from boards.board_file import BoardFile
from boards.errors import SynthesisError
from boards.platforms import ulx3s_25f, ulx3s_85f

__all__ = ["BOARDS", "board"]

BOARDS = {file.name: file for file in (ulx3s_85f.BOARD, ulx3s_25f.BOARD)}


def board(name: str) -> BoardFile:
    """The named board; `SynthesisError` lists the names there are."""
    if name not in BOARDS:
        raise SynthesisError(f"no board '{name}'; there are {', '.join(BOARDS)}")
    return BOARDS[name]
