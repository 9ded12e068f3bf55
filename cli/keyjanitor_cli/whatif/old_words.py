"""Reads the reasons of keys files that a build before 0.2.0 wrote: these had words alone.

The words are those of that version and do not follow `keyjanitor.domain.expiry.reasons`.
"""

import re
from collections.abc import Mapping
from typing import Any

from keyjanitor.domain.expiry import reasons
from keyjanitor.domain.model.owners import owner_of_text, owner_values

_OWNED = re.compile(r"(?s)owned by (.+)")
_PROTECTED = re.compile(r"protected until (\d{4}-\d\d-\d\d)")
_ENDS = re.compile(r"\bends on (\d{4}-\d\d-\d\d)")
_CODES = {
    "tagged keyjanitor:keep": reasons.KeepTag.code,
    "disabled by somebody else": reasons.DisabledByOthers.code,
    "a stage names it in the old way (stageKeys), which is not metered": reasons.StageKeys.code,
    "its tags could not be read": reasons.TagsUnread.code,
}


def of_old_words(reason: str) -> tuple[str, Mapping[str, Any]]:
    """The code and the facts of a sentence, as far as a replay needs them; else "" and none."""
    if code := _CODES.get(reason):
        return code, {}
    if owned := _OWNED.fullmatch(reason):
        return reasons.OwnedBy.code, {"owner": owner_values(owner_of_text(owned[1]))}
    if protected := _PROTECTED.fullmatch(reason):
        return reasons.ProtectedUntil.code, {"until": protected[1]}
    if ends := _ENDS.search(reason):
        return reasons.Ends.code, {"expires_on": ends[1]}
    return "", {}
