"""Makes new keys: seal, write down, import, read back, announce.

Whatever breaks, the redelivered request goes on from its grant, by the name of the key: one that is
there is proven, one that is not there is made with another value.
"""

import secrets
from collections.abc import Sequence

from keyjanitor.domain.requests.import_file import batch_prefix
from keyjanitor.services.provision_keys.delivering import deliver
from keyjanitor.services.provision_keys.importing import Importing
from keyjanitor.services.provision_keys.proving import prove
from keyjanitor.services.provision_keys.responder import Responder
from keyjanitor.services.provision_keys.sealing import Sealing
from keyjanitor.services.provision_keys.tasks import SlotRequest, Task
from keyjanitor.services.provision_keys.tier_plans import TierPlans


class Issuing:
    """Makes the keys of one run's requests."""

    def __init__(self, responder: Responder, plans: TierPlans) -> None:
        self._responder = responder
        self._sealing = Sealing(responder, plans)
        self._importing = Importing(responder, plans)

    def make(self, requests: Sequence[SlotRequest]) -> list[Task]:
        """Makes a key for each request, and answers it; gives those whose keys there are now."""
        today = self._responder.run.window.now.date()
        prefix = batch_prefix(today, secrets.token_hex(4))
        pending = self._sealing.seal(requests, prefix)
        there = [one for one in pending if one.value is None]
        new = [one for one in pending if one.value is not None]
        there += self._importing.make(new, prefix)
        if not there:
            return []
        return deliver(prove(there, self._responder), self._responder)
