"""Asks who made a key: the tagging API for all keys at once, CloudFormation for one.

Neither spends API Gateway's budget (seen: AF-401).
"""

from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from keyjanitor.adapters.clients import code_of, refusal
from keyjanitor.domain.model.aws_answers import items_of, text_of
from keyjanitor.domain.model.key_ids import may_be_value, shown_id
from keyjanitor.errors import CallFailed

LET_GO = ("DELETE_COMPLETE", "DELETE_SKIPPED")  # the status of what a stack does not have any more


class Ownership:
    """The tags of all keys, and the stacks that own them."""

    def __init__(self, tagging: Any, cloudformation: Any) -> None:
        self._tagging = tagging
        self._cloudformation = cloudformation

    def tags(self) -> dict[str, dict[str, str]]:
        """The tags of every tagged key, read to the last page; who is left out is untagged.

        Raises CallFailed or AccessDenied: then no key's tags are known.
        """
        tags: dict[str, dict[str, str]] = {}
        token = ""
        while True:
            try:
                page = self._tagging.get_resources(
                    ResourceTypeFilters=["apigateway"], ResourcesPerPage=100, PaginationToken=token
                )
            except (ClientError, BotoCoreError) as err:
                raise refusal(err, "GetResources", "tag:GetResources") from None
            for resource in items_of(page, "ResourceTagMappingList", "GetResources"):
                # arn:PARTITION:apigateway:REGION::/apikeys/ID (seen: AF-401)
                path = text_of(resource, "ResourceARN", "GetResources").split("::", 1)[-1]
                if path.startswith("/apikeys/"):
                    key_id = shown_id(path.removeprefix("/apikeys/"))
                    tags[key_id] = {tag["Key"]: tag["Value"] for tag in resource.get("Tags", ())}
            token = page.get("PaginationToken", "")
            if not token:
                return tags

    def stack_of(self, key_id: str) -> str | None:
        """The name of the stack that owns the key, or None if none does (doc: AF-403).

        A stack that let the key go when it was deleted, which CloudFormation still lists for 90 days
        (doc: AF-403), owns it no more.
        A key whose id may be its value is not sent to CloudFormation: only its tags are known.
        Raises CallFailed or AccessDenied: then it is not known.
        """
        if may_be_value(key_id):
            return None
        action = "cloudformation:DescribeStackResources"
        try:
            answer = self._cloudformation.describe_stack_resources(PhysicalResourceId=key_id)
        except ClientError as err:
            message = str(err.response.get("Error", {}).get("Message", ""))
            if code_of(err) == "ValidationError" and "does not exist" in message:
                return None
            raise refusal(err, "DescribeStackResources", action) from None
        except BotoCoreError as err:
            raise refusal(err, "DescribeStackResources", action) from None
        # AWS answers with the resources of the stack that owns the key, the first hundred only, so
        # the key itself need not be among them (doc: AF-403).
        resources = items_of(answer, "StackResources", "DescribeStackResources")
        of_key = [one for one in resources if one.get("PhysicalResourceId") == key_id]
        if of_key and all(one.get("ResourceStatus") in LET_GO for one in of_key):
            return None
        for resource in resources:
            return text_of(resource, "StackName", "DescribeStackResources")
        raise CallFailed("DescribeStackResources", "an answer without resources")
