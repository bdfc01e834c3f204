"""The exceptions of this package."""

from collections.abc import Sequence

from spec.describe import notes
from spec.errors import CheckFailedError, SievitError
from spec.registers import Error

__all__ = ["DriverError", "HostError", "LinkError", "MachineFaultError", "fault_text"]


class HostError(SievitError, RuntimeError):
    """A machine that cannot be reached or used: says which, why and what to do."""


class LinkError(HostError):
    """The board does not answer, or refuses a request."""


class DriverError(HostError):
    """The board answers, and what it says does not fit."""


class MachineFaultError(DriverError, CheckFailedError):
    """The machine stopped in its error state: `code` and `pc` are those of its registers."""

    def __init__(self, message: str, code: Error, pc: int) -> None:
        super().__init__(message)
        self.code, self.pc = code, pc


def fault_text(code: Error, pc: int, names: Sequence[str] = ()) -> str:
    """What the machine's error registers say, in words.

    names : what each instruction of the program makes (`Image.names`)
    """
    made = f" ({names[pc]})" if pc < len(names) and names[pc] else ""
    meaning = notes(Error).get(code.name, "")
    return f"the machine stopped at instruction {pc}{made} with {code.name}: {meaning}"
