"""What a policy's `${...}` stands for, and who the principal of a role's session is.

MiniStack compares variables as they are written, and takes a session's own ARN for its principal's;
AWS fills them in, and says of a session `aws:PrincipalArn` is the role's ARN, path and all (doc: AF-408).
"""

import re
from collections.abc import Mapping
from typing import Any

from ministack.core import iam_evaluator
from ministack.services import iam

_VARIABLE = re.compile(r"\$\{([\w:/.-]+)\}")


class PolicyVariables:
    """`${aws:PrincipalArn}` and its like in the conditions of policies, of roles and of resources."""

    def __init__(self) -> None:
        self._resolve = iam_evaluator._resolve_condition_key
        self._met = iam_evaluator._conditions_met

    def install(self) -> None:
        iam_evaluator._resolve_condition_key = self.resolve
        iam_evaluator._conditions_met = self.met

    def resolve(self, key: str, context: Any) -> Any:
        """What a condition key stands for in a call."""
        if key.lower() == "aws:securetransport":
            # Calls come by plain http and leave this machine no more than TLS's would: what policies
            # demand for the network holds, else no role could use a bucket that SAM has made.
            return "true"
        value = self._resolve(key, context)
        if key.lower() == "aws:principalarn" and ":assumed-role/" in str(value):
            name = str(value).split("/")[1]
            role = iam._roles.get_scoped(context.principal_account, None, name) or {}
            return role.get("Arn") or f"arn:aws:iam::{context.principal_account}:role/{name}"
        return value

    def met(self, conditions: Mapping[str, Any] | None, context: Any) -> Any:
        """Whether a statement's conditions hold, with their variables filled in."""
        filled = {
            operator: {key: self._filled(expected, context) for key, expected in keys.items()}
            for operator, keys in (conditions or {}).items()
            if isinstance(keys, dict)
        }
        return self._met(filled, context)

    def _filled(self, expected: Any, context: Any) -> list[str]:
        def stands_for(found: re.Match[str]) -> str:
            value = self.resolve(found[1], context)
            # A variable that stands for nothing makes its statement void: nothing is equal to this.
            return "\0" if value is None else str(value)

        texts = expected if isinstance(expected, list) else [expected]
        return [_VARIABLE.sub(stands_for, str(text)) for text in texts]
