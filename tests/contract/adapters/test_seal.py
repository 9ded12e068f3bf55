"""Sealing by KMS, on moto's and on the one in memory; and against botocore's model."""

import base64
import re
from collections.abc import Callable
from dataclasses import fields, replace
from datetime import timedelta, timezone
from typing import Any

import boto3
import pytest
from botocore.exceptions import ConnectTimeoutError, ParamValidationError
from botocore.stub import Stubber

from keyjanitor.adapters.kms import ValueSealer, delivery_context, tombstone_context
from keyjanitor.domain.model.keys import Secret, Tombstone
from keyjanitor.errors import AccessDenied, CallFailed
from keyjanitor.services import ports
from sandbox.memory.adapters.api_gateway import value_of
from sandbox.memory.clients.clients import Clients, clients_in_memory
from sandbox.memory.clients.refusal import refused
from sandbox.memory.simulation import history as simulation
from tests.builders import TODAY, a_tombstone, at, in_days

VALUE = value_of("k0")
ARN = "arn:aws:kms:us-east-1:123456789012:key/11111111-2222-3333-4444-555555555555"
CONTEXT = tombstone_context(a_tombstone("k0"))


@pytest.fixture(params=[pytest.param("moto", marks=pytest.mark.slow), "memory", "simulation"])
def sealer(request: pytest.FixtureRequest) -> ports.SweepSealer:
    """The sealer on moto's KMS and on the one in memory; and its twin, which has no KMS."""
    if request.param == "simulation":
        return simulation.ValueSealer()
    clients: Clients = (
        clients_in_memory() if request.param == "memory" else request.getfixturevalue("moto")
    )
    return ValueSealer(clients.kms, clients.key_arn)


def test_what_was_sealed_opens_under_the_same_context_and_no_other(
    sealer: ports.SweepSealer,
) -> None:
    sealer.try_out()
    for value in (VALUE, "v" * 128, 'with "quotes", commas and =+/'):
        sealed = sealer.seal(Secret(value), CONTEXT)
        assert value not in sealed
        assert value.encode() not in base64.b64decode(sealed, validate=True)
        assert sealer.open(sealed, CONTEXT) == Secret(value)
        for other in (tombstone_context(a_tombstone("k1")), {**CONTEXT, "purpose": "delivery"}, {}):
            with pytest.raises(CallFailed):
                sealer.open(sealed, other)


def test_a_tombstones_context_names_its_purpose_and_its_key_and_binds_what_it_says() -> None:
    says = CONTEXT["says"]
    assert {"purpose": "tombstone", "key_id": "k0", "says": says} == CONTEXT
    assert re.fullmatch("[0-9a-f]{64}", says)
    sealed = a_tombstone("k0", sealed_value="c2VhbGVk")
    assert tombstone_context(sealed) == CONTEXT
    elsewhere = timezone(timedelta(hours=9))
    same = replace(sealed, created_date=sealed.created_date.astimezone(elsewhere))
    assert tombstone_context(same) == CONTEXT


OTHERWISE: dict[str, Any] = {
    "key_id": "k1",
    "name": "another",
    "description": "another",
    "customer_id": "another",
    "tags": {"another": "1"},
    "usage_plan_ids": ("gold",),
    "tier": "another",
    "owner": "another",
    "enabled": False,
    "created_date": at(TODAY),
    "parked_on": in_days(1),
    "last_used": in_days(-9),
}


def test_every_field_of_a_tombstone_but_the_sealed_value_is_bound() -> None:
    names = {one.name for one in fields(Tombstone)}
    assert names == {*OTHERWISE, "sealed_value"}
    contexts = [tombstone_context(a_tombstone("k0"))]
    contexts += [
        tombstone_context(replace(a_tombstone("k0"), **{n: v})) for n, v in OTHERWISE.items()
    ]
    assert len({one["says"] for one in contexts}) == 1 + len(OTHERWISE)


def test_a_deliverys_context_names_its_recipient_and_its_request() -> None:
    recipient = "arn:aws:iam::123456789012:role/portal"
    assert delivery_context(recipient, "r1") == {
        "purpose": "delivery",
        "recipient": recipient,
        "request_id": "r1",
    }


def test_a_delivery_opens_for_its_own_recipient_and_request_alone(either: Clients) -> None:
    sealer = ValueSealer(either.kms, either.key_arn)
    context = delivery_context("arn:aws:iam::123456789012:role/portal", "r1")
    sealed = sealer.seal(Secret(VALUE), context)
    assert sealer.open(sealed, context) == Secret(VALUE)
    assert sealer.open(sealed, dict(reversed(context.items()))) == Secret(VALUE)
    for other in (
        delivery_context("arn:aws:iam::123456789012:role/porta", "r1"),
        delivery_context("arn:aws:iam::123456789012:role/portal", "r2"),
        {**context, "purpose": "tombstone"},
        {**context, "more": "1"},
        {name: context[name] for name in ("purpose", "recipient")},
        tombstone_context(a_tombstone("r1")),
    ):
        with pytest.raises(CallFailed):
            sealer.open(sealed, other)


def test_the_same_value_is_sealed_otherwise_each_time(either: Clients) -> None:
    """Who sees two deliveries cannot tell whether they hold the same."""
    sealer = ValueSealer(either.kms, either.key_arn)
    context = delivery_context("arn:aws:iam::123456789012:role/portal", "r1")
    sealed = {sealer.seal(Secret(VALUE), context) for _ in range(3)}
    assert len(sealed) == 3
    assert {sealer.open(one, context) for one in sealed} == {Secret(VALUE)}


def test_what_was_tampered_with_does_not_open(either: Clients) -> None:
    sealer = ValueSealer(either.kms, either.key_arn)
    sealed = base64.b64decode(sealer.seal(Secret(VALUE), CONTEXT))
    for other in (sealed[:-1], sealed[:-1] + bytes([sealed[-1] ^ 1]), sealed + b"x"):
        with pytest.raises(CallFailed):
            sealer.open(base64.b64encode(other).decode(), CONTEXT)


def test_the_calls_are_as_awss_model_has_them() -> None:
    client: Any = boto3.client(
        "kms", region_name="us-east-1", aws_access_key_id="a", aws_secret_access_key="b"
    )
    with Stubber(client) as aws:
        aws.add_response(
            "encrypt",
            {"CiphertextBlob": b"sealed", "KeyId": ARN},
            {"KeyId": ARN, "Plaintext": VALUE.encode(), "EncryptionContext": CONTEXT},
        )
        aws.add_response(
            "decrypt",
            {"Plaintext": VALUE.encode(), "KeyId": ARN},
            {"KeyId": ARN, "CiphertextBlob": b"sealed", "EncryptionContext": CONTEXT},
        )
        sealer = ValueSealer(client, ARN)
        assert sealer.open(sealer.seal(Secret(VALUE), CONTEXT), CONTEXT) == Secret(VALUE)


@pytest.mark.parametrize(
    "err",
    [
        refused(VALUE, "InternalException", 500),
        ParamValidationError(report=VALUE),
        ConnectTimeoutError(endpoint_url=VALUE),
    ],
)
@pytest.mark.parametrize(
    "call",
    [
        lambda sealer: sealer.seal(Secret(VALUE), CONTEXT),
        lambda sealer: sealer.open("c2VhbGVk", CONTEXT),
    ],
    ids=["seal", "open"],
)
def test_no_error_holds_what_was_sent(err: Exception, call: Callable[[ValueSealer], Any]) -> None:
    class Raises:
        def __getattr__(self, name: str) -> Callable[..., Any]:
            def fail(**_: Any) -> Any:
                raise err

            return fail

    sealer = ValueSealer(Raises(), ARN)
    with pytest.raises(CallFailed) as caught:
        call(sealer)
    assert VALUE not in repr(caught.value) + str(caught.value)
    assert caught.value.__suppress_context__


def test_access_denied_names_the_action() -> None:
    class Denies:
        def encrypt(self, **_: Any) -> Any:
            raise refused("Encrypt", "AccessDeniedException")

    with pytest.raises(AccessDenied, match="kms:Encrypt"):
        ValueSealer(Denies(), ARN).seal(Secret(VALUE), CONTEXT)
