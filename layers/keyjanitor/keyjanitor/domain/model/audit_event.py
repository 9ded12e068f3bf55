"""An event as it is read back from the audit log. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any


@dataclass(frozen=True, slots=True)
class AuditEvent:
    """An event as the audit log holds it: EventBridge's id and time; a sealed value is left out."""

    event_id: str
    time: datetime
    detail_type: str
    detail: Mapping[str, Any]
