"""KMS's client in memory, as far as `keyjanitor.adapters.kms` uses it."""

from hashlib import sha256
from typing import Any

from sandbox.memory.clients.dynamodb import Item
from sandbox.memory.clients.refusal import refused


class FakeKms:
    """Ciphertexts that open only with the context they were sealed with."""

    def __init__(self) -> None:
        self._sealed: dict[bytes, tuple[bytes, Item]] = {}

    def encrypt(self, **request: Any) -> Item:
        sealed = sha256(repr(sorted(request.items())).encode()).digest()
        sealed += len(self._sealed).to_bytes(4, "big")
        self._sealed[sealed] = (request["Plaintext"], request["EncryptionContext"])
        return {"CiphertextBlob": sealed}

    def decrypt(self, **request: Any) -> Item:
        plain, context = self._sealed.get(request["CiphertextBlob"], (b"", None))
        if context != request["EncryptionContext"]:
            raise refused("Decrypt", "InvalidCiphertextException")
        return {"Plaintext": plain}
