"""The owners of keys in memory, with the methods of `keyjanitor.adapters.ownership.Ownership`."""

from keyjanitor.domain.model.key_ids import shown_id
from keyjanitor.errors import KeyjanitorError
from sandbox.memory.adapters.api_gateway import FakeApiGateway


class FakeOwnership:
    """The tags of all keys of a fake API Gateway, and the stacks that own some."""

    def __init__(self, gateway: FakeApiGateway) -> None:
        self.gateway = gateway
        self.stacks: dict[str, str] = {}
        self.tags_fail: KeyjanitorError | None = None
        self.stacks_fail: KeyjanitorError | None = None

    def tags(self) -> dict[str, dict[str, str]]:
        if self.tags_fail:
            raise self.tags_fail
        keys = self.gateway.living.values()
        return {shown_id(key.key_id): dict(key.tags) for key in keys if key.tags}

    def stack_of(self, key_id: str) -> str | None:
        if self.stacks_fail:
            raise self.stacks_fail
        return self.stacks.get(key_id)
