"""Puts the stack and the Region into a command that fixes a problem, so that it is pasted from anywhere. Pure."""

import re

from keyjanitor.domain.doctor.fixes import POLICY_FILE

_KEYJANITOR = re.compile(r"^keyjanitor [a-z]+|(?<=: )keyjanitor [a-z]+", re.MULTILINE)
_AWS = re.compile(r"(?<![\w-])aws [a-z0-9-]+ [a-z0-9-]+")


def placed(command: str, stack: str, region: str) -> str:
    """The command for this stack and Region, whichever the shell's own are.

    Lines for `policy.toml` stay as they are: they are no commands, and hold texts of the policy.
    """
    if POLICY_FILE in command:
        return command
    command = _KEYJANITOR.sub(rf"\g<0> --stack {stack} --region {region}", command)
    return _AWS.sub(rf"\g<0> --region {region}", command)
