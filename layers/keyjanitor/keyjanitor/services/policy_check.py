"""Reads a policy and says what is wrong in it: `python -m keyjanitor.services.policy_check FILE`.

`sam build` runs it before it builds the layer, on any Python from 3.11 on, without anything installed.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from keyjanitor.domain.model.policy_file import parse_policy
from keyjanitor.errors import PolicyError


def main(arguments: Sequence[str]) -> int:
    """0 if the policy that is named is right; else 1, with its mistakes on the standard error."""
    path = Path(arguments[0])
    try:
        parse_policy(path.read_bytes(), str(path))
    except (PolicyError, OSError) as err:
        sys.stderr.write(f"{err}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
