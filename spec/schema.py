"""Parts of JSON Schema that the reports are made of."""

from typing import Any

__all__ = ["COUNT", "NUMBER", "TEXT", "record"]

COUNT: dict[str, Any] = {"type": "integer", "minimum": 0}
NUMBER: dict[str, Any] = {"type": "number", "minimum": 0}
TEXT: dict[str, Any] = {"type": "string"}


def record(properties: dict[str, Any]) -> dict[str, Any]:
    """An object that has all of these, and may have more."""
    return {"type": "object", "properties": properties, "required": list(properties)}
