"""All clients of an account, of an AWS in memory or of another."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from typing import Any

from sandbox.memory.clients.dynamodb import FakeDynamoDb
from sandbox.memory.clients.kms import FakeKms
from sandbox.memory.clients.s3 import FakeS3
from sandbox.memory.clients.told import FakeTold


@dataclass(frozen=True, slots=True)
class Clients:
    """The clients of an account, the ARNs in it, and a way to new tables and buckets."""

    dynamodb: Any
    s3: Any
    kms: Any
    events: Any
    sns: Any
    key_arn: str
    topic_arn: str
    counter: Iterator[int]

    def new_table(self) -> str:
        table = f"ledger-{next(self.counter)}"
        self.dynamodb.create_table(
            TableName=table,
            KeySchema=[
                {"AttributeName": "pk", "KeyType": "HASH"},
                {"AttributeName": "sk", "KeyType": "RANGE"},
            ],
            AttributeDefinitions=[
                {"AttributeName": "pk", "AttributeType": "S"},
                {"AttributeName": "sk", "AttributeType": "S"},
            ],
            BillingMode="PAY_PER_REQUEST",
        )
        return table

    def new_bucket(self) -> str:
        bucket = f"history-{next(self.counter)}"
        self.s3.create_bucket(Bucket=bucket)
        self.s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
        return bucket


def clients_in_memory() -> Clients:
    """An AWS that lives as long as the clients do."""
    told = FakeTold()
    return Clients(
        dynamodb=FakeDynamoDb(),
        s3=FakeS3(),
        kms=FakeKms(),
        events=told,
        sns=told,
        key_arn="arn:aws:kms:us-east-1:123456789012:key/sealing-key",
        topic_arn="arn:aws:sns:us-east-1:123456789012:alerts",
        counter=count(1),
    )
