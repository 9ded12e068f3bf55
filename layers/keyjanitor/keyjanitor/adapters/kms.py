"""Talks to KMS: seals a key's value and opens it again, each for one purpose."""

import base64
import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC
from hashlib import sha256
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from keyjanitor.adapters.clients import refusal
from keyjanitor.adapters.record_codec import to_values
from keyjanitor.domain.model.keys import Secret, Tombstone
from keyjanitor.errors import UnexpectedAnswer


def tombstone_context(tombstone: Tombstone) -> dict[str, str]:
    """The encryption context of a tombstone. It is public: CloudTrail shows it (doc: AF-522).

    `says` is the SHA-256 of all that the tombstone says beside the value: if its plans, its owner or
    anything else of it is changed in the bucket, it does not open.
    """
    utc = tombstone.created_date.astimezone(UTC)
    says = to_values(replace(tombstone, sealed_value="", created_date=utc))
    text = json.dumps(says, sort_keys=True, separators=(",", ":"))
    return {
        "purpose": "tombstone",
        "key_id": tombstone.key_id,
        "says": sha256(text.encode()).hexdigest(),
    }


def delivery_context(recipient: str, request_id: str) -> dict[str, str]:
    """The encryption context of a value on its way to a recipient, an ARN. It is public, too."""
    return {"purpose": "delivery", "recipient": recipient, "request_id": request_id}


class ValueSealer:
    """Seals under one KMS key. A ciphertext opens only with the context it was sealed with (doc: AF-521)."""

    def __init__(self, client: Any, key_arn: str) -> None:
        self._client = client
        self._key_arn = key_arn

    def try_out(self) -> None:
        """Seals what means nothing, as a tombstone would be, and opens it; raises if that fails."""
        context = {"purpose": "tombstone", "key_id": "none"}
        sealed = self.seal(Secret("a trial"), context)
        if self.open(sealed, context) != Secret("a trial"):
            raise UnexpectedAnswer("Decrypt", "what was sealed opens to something else")

    def seal(self, value: Secret, context: Mapping[str, str]) -> str:
        """The sealed value in base64. Errors are raised without what was sent."""
        try:
            answer = self._client.encrypt(
                KeyId=self._key_arn,
                Plaintext=value.reveal().encode(),
                EncryptionContext=dict(context),
            )
        except (ClientError, BotoCoreError) as err:
            raise refusal(err, "Encrypt", f"kms:Encrypt on {self._key_arn}") from None
        return base64.b64encode(answer["CiphertextBlob"]).decode()

    def open(self, sealed: str, context: Mapping[str, str]) -> Secret:
        """The value that was sealed; raises CallFailed or AccessDenied."""
        try:
            answer = self._client.decrypt(
                KeyId=self._key_arn,
                CiphertextBlob=base64.b64decode(sealed),
                EncryptionContext=dict(context),
            )
        except (ClientError, BotoCoreError) as err:
            raise refusal(err, "Decrypt", f"kms:Decrypt on {self._key_arn}") from None
        return Secret(answer["Plaintext"].decode())
