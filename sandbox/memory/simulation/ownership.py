"""Whose the keys of a simulated life are."""

from keyjanitor.errors import CallFailed
from sandbox.memory.simulation.gateway import Gateway


class Ownership:
    """The tags of all keys, and their stacks."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self.stacks: dict[str, str] = {}
        self.readable = True

    def tags(self) -> dict[str, dict[str, str]]:
        if not self.readable:
            raise CallFailed("GetResources", "InternalServiceException")
        return {key_id: dict(key.tags) for key_id, key in self._gateway.living.items() if key.tags}

    def stack_of(self, key_id: str) -> str | None:
        if not self.readable:
            raise CallFailed("DescribeStackResources", "InternalFailure")
        return self.stacks.get(key_id)
