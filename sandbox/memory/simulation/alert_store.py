"""The alerts of a simulated life: the adapter itself, on the DynamoDB in memory."""

from keyjanitor.adapters.alert_store import AlertStore
from keyjanitor.adapters.dynamodb import Table
from sandbox.memory.clients.clients import clients_in_memory


def alert_store() -> AlertStore:
    """An alert store that is empty; one item is quick enough to need no twin."""
    clients = clients_in_memory()
    return AlertStore(Table(clients.dynamodb, clients.new_table()))
