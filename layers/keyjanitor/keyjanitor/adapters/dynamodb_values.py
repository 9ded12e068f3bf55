"""Turns plain values into DynamoDB's form and back, the usual types without boto3's long way round."""

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

from boto3.dynamodb.types import TypeDeserializer, TypeSerializer

LARGEST = 10**38  # boto3 refuses a number with more digits
_serialize: Callable[[Any], Any] = TypeSerializer().serialize
_deserialize: Callable[[Any], Any] = TypeDeserializer().deserialize

Wire = dict[str, Any]


def to_wire(value: Any) -> Wire:
    """A value as DynamoDB wants it; raises what boto3 raises for one that DynamoDB does not have."""
    match value:
        case str():
            return {"S": value}
        case bool():
            return {"BOOL": value}
        case int() if abs(value) < LARGEST:
            return {"N": str(value)}
        case list():
            return {"L": [to_wire(one) for one in value]}
        case Mapping():
            return {"M": {name: to_wire(one) for name, one in value.items()}}
        case float():  # DynamoDB has none
            return to_wire(Decimal(str(value)))
        case _:
            wire: Wire = _serialize(value)
            return wire


def from_wire(wire: Mapping[str, Any]) -> Any:
    """The value that DynamoDB's form of it means; a number is an int, or else a float."""
    ((kind, value),) = wire.items()
    match kind:
        case "S" | "BOOL":
            return value
        case "N":
            return int(value) if value.isdecimal() else _number(Decimal(value))
        case "L":
            return [from_wire(one) for one in value]
        case "M":
            return {name: from_wire(one) for name, one in value.items()}
        case _:
            return _deserialize(wire)


def _number(number: Decimal) -> int | float:
    return int(number) if number == number.to_integral_value() else float(number)
