"""How an AWS in memory refuses: as botocore raises it."""

from typing import Any

from botocore.exceptions import ClientError


def refused(operation: str, code: str, status: int = 400, **more: Any) -> ClientError:
    """The error that botocore raises for an answer with this code."""
    answer: Any = {
        "Error": {"Code": code, "Message": f"{operation} was refused"},
        "ResponseMetadata": {"HTTPStatusCode": status},
        **more,
    }
    return ClientError(answer, operation)
