"""Who made a key: the adapter against botocore's models of the tagging API and CloudFormation."""

from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.exceptions import EndpointConnectionError
from botocore.stub import Stubber

from keyjanitor.adapters.ownership import Ownership
from keyjanitor.errors import AccessDenied, CallFailed

ASKED = {"ResourceTypeFilters": ["apigateway"], "ResourcesPerPage": 100}


class Stubbed:
    def __init__(self) -> None:
        self.tagging, self.tags = self._client("resourcegroupstaggingapi")
        self.cloudformation, self.stacks = self._client("cloudformation")
        self.owners = Ownership(self.tagging, self.cloudformation)

    @staticmethod
    def _client(service: Any) -> tuple[Any, Stubber]:
        client: Any = boto3.client(
            service, region_name="us-east-1", aws_access_key_id="a", aws_secret_access_key="b"
        )
        return client, Stubber(client)


@pytest.fixture
def stubbed() -> Iterator[Stubbed]:
    stubbed = Stubbed()
    with stubbed.tags, stubbed.stacks:
        yield stubbed
        stubbed.tags.assert_no_pending_responses()
        stubbed.stacks.assert_no_pending_responses()


def tagged(path: str, *tags: tuple[str, str], start: str = "arn:aws:apigateway:us-east-1::") -> Any:
    return {
        "ResourceARN": f"{start}{path}",
        "Tags": [{"Key": key, "Value": value} for key, value in tags],
    }


def test_the_tags_of_all_pages_by_key_id(stubbed: Stubbed) -> None:
    stubbed.tags.add_response(
        "get_resources",
        {
            "ResourceTagMappingList": [
                tagged("/apikeys/k0", ("team", "sensors"), ("keyjanitor:keep", "")),
                tagged("/restapis/api1", ("team", "others")),
                tagged("/restapis/api1/stages/apikeys", ("team", "others")),
                tagged("/usageplans/p1", ("team", "others")),
            ],
            "PaginationToken": "next",
        },
        {**ASKED, "PaginationToken": ""},
    )
    stubbed.tags.add_response(
        "get_resources",
        {
            "ResourceTagMappingList": [
                tagged("/apikeys/k1", ("a", "b"), start="arn:aws-cn:apigateway:cn-north-1::"),
                tagged("/apikeys/k2"),
            ],
            "PaginationToken": "",
        },
        {**ASKED, "PaginationToken": "next"},
    )
    assert stubbed.owners.tags() == {
        "k0": {"team": "sensors", "keyjanitor:keep": ""},
        "k1": {"a": "b"},
        "k2": {},
    }


def test_tags_that_were_not_read_to_the_last_page_are_nobodys(stubbed: Stubbed) -> None:
    stubbed.tags.add_response(
        "get_resources",
        {"ResourceTagMappingList": [tagged("/apikeys/k0")], "PaginationToken": "next"},
        {**ASKED, "PaginationToken": ""},
    )
    stubbed.tags.add_client_error("get_resources", "InternalServiceException", "", 500)
    with pytest.raises(CallFailed):
        stubbed.owners.tags()


def test_the_stack_that_owns_a_key_is_named(stubbed: Stubbed) -> None:
    resource = {
        "LogicalResourceId": "Key",
        "ResourceType": "AWS::ApiGateway::ApiKey",
        "Timestamp": "2026-11-21T00:00:00Z",
        "ResourceStatus": "CREATE_COMPLETE",
    }
    stubbed.stacks.add_response(
        "describe_stack_resources",
        {
            "StackResources": [
                {**resource, "PhysicalResourceId": "other", "StackName": "shop"},
                {**resource, "PhysicalResourceId": "k0", "StackName": "shop"},
            ]
        },
        {"PhysicalResourceId": "k0"},
    )
    assert stubbed.owners.stack_of("k0") == "shop"


@pytest.mark.parametrize(
    ("status", "owner"),
    [
        ("DELETE_SKIPPED", None),
        ("DELETE_COMPLETE", None),
        ("DELETE_IN_PROGRESS", "shop"),
        ("DELETE_FAILED", "shop"),
        ("UPDATE_COMPLETE", "shop"),
    ],
)
def test_a_stack_that_let_a_key_go_when_it_was_deleted_owns_it_no_more(
    stubbed: Stubbed, status: str, owner: str | None
) -> None:
    resource = {
        "LogicalResourceId": "Key",
        "ResourceType": "AWS::ApiGateway::ApiKey",
        "Timestamp": "2026-11-21T00:00:00Z",
        "StackName": "shop",
    }
    stubbed.stacks.add_response(
        "describe_stack_resources",
        {
            "StackResources": [
                {**resource, "PhysicalResourceId": "other", "ResourceStatus": "DELETE_COMPLETE"},
                {**resource, "PhysicalResourceId": "k0", "ResourceStatus": status},
            ]
        },
    )
    assert stubbed.owners.stack_of("k0") == owner


def test_a_big_stack_owns_a_key_that_is_not_among_its_first_hundred_resources(
    stubbed: Stubbed,
) -> None:
    resource = {
        "LogicalResourceId": "Key",
        "ResourceType": "AWS::ApiGateway::ApiKey",
        "Timestamp": "2026-11-21T00:00:00Z",
        "ResourceStatus": "CREATE_COMPLETE",
        "StackName": "big",
    }
    first = [{**resource, "PhysicalResourceId": f"r{n}"} for n in range(100)]
    stubbed.stacks.add_response("describe_stack_resources", {"StackResources": first})
    assert stubbed.owners.stack_of("k0") == "big"


def test_an_answer_without_resources_leaves_it_unknown_whose_a_key_is(stubbed: Stubbed) -> None:
    stubbed.stacks.add_response("describe_stack_resources", {"StackResources": []})
    with pytest.raises(CallFailed):
        stubbed.owners.stack_of("k0")


def test_a_key_that_no_stack_has_is_nobodys(stubbed: Stubbed) -> None:
    stubbed.stacks.add_client_error(
        "describe_stack_resources", "ValidationError", "Stack for k0 does not exist", 400
    )
    assert stubbed.owners.stack_of("k0") is None


@pytest.mark.parametrize(
    ("code", "message"),
    [("ValidationError", "1 validation error"), ("Throttling", "Rate exceeded")],
)
def test_any_other_answer_leaves_it_unknown(stubbed: Stubbed, code: str, message: str) -> None:
    stubbed.stacks.add_client_error("describe_stack_resources", code, message, 400)
    with pytest.raises(CallFailed, match=code):
        stubbed.owners.stack_of("k0")


def test_access_denied_names_the_action_and_the_role(stubbed: Stubbed) -> None:
    role = "arn:aws:sts::123456789012:assumed-role/keyjanitor-ExpireKeys/f"
    message = f"User: {role} is not authorized to perform: x"
    stubbed.stacks.add_client_error("describe_stack_resources", "AccessDenied", message, 403)
    stubbed.tags.add_client_error("get_resources", "AccessDeniedException", message, 400)
    with pytest.raises(AccessDenied, match=f"{role} may not cloudformation:DescribeStackResources"):
        stubbed.owners.stack_of("k0")
    with pytest.raises(AccessDenied, match=f"{role} may not tag:GetResources"):
        stubbed.owners.tags()


def test_a_connection_that_fails_leaves_it_unknown() -> None:
    class Down:
        def __getattr__(self, name: str) -> Any:
            def call(**_: Any) -> Any:
                raise EndpointConnectionError(endpoint_url="https://x")

            return call

    owners = Ownership(Down(), Down())
    with pytest.raises(CallFailed):
        owners.tags()
    with pytest.raises(CallFailed):
        owners.stack_of("k0")
