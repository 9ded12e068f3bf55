"""An alert, for people and for programs. Pure."""

from dataclasses import dataclass
from typing import Any

SAM_INVOKE = "sam remote invoke ExpireKeysFunction --stack-name keyjanitor --event"


@dataclass(frozen=True, slots=True)
class Alert:
    """One publish: `subject` is ASCII under 100 characters, `form` is JSON for programs."""

    kind: str  # see docs/alerts.md
    severity: str  # info, warning or critical
    subject: str
    text: str
    form: dict[str, Any]
