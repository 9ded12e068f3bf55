"""Writes the folders of the code that runs it: `KEYJANITOR_WIRE=FOLDER pytest tests/contract/wire/write_folders.py`.

Run it on the commit before a format changes, and commit the folder under the name of that build.
"""

import json
import os
from collections.abc import Callable
from pathlib import Path

from tests.account import Account
from tests.contract.wire.lives import braked, many_states, night_after, pressed, read, write

AccountMaker = Callable[..., Account]


def test_write_the_folders(an_account: AccountMaker) -> None:
    folder = Path(os.environ["KEYJANITOR_WIRE"])
    for name, make in (("states", many_states), ("braked", braked), ("pressed", pressed)):
        account = make(an_account)
        write(account, folder / name)
        again = read(an_account(policy=account.policy), folder / name)
        decided = json.dumps(night_after(again), indent=1, sort_keys=True)
        (folder / name / "next.json").write_text(decided + "\n", "utf-8")
