"""Deployments in the sandbox show what they serve, as AWS documents it, and canaries stand beside."""

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

from sandbox.driver.client import Sandbox

pytestmark = [pytest.mark.enable_socket, pytest.mark.slow]

WRONG = "Invalid deployment content specified."
NO_STAGE = "Non null and non empty stageName must be provided for canary deployment."


@pytest.fixture
def gateway(sandbox: Sandbox) -> Any:
    return sandbox.client("apigateway")


class Api:
    """A REST API under construction."""

    def __init__(self, gateway: Any) -> None:
        self.gateway = gateway
        self.api_id: str = gateway.create_rest_api(name="books")["id"]
        [root] = gateway.get_resources(restApiId=self.api_id)["items"]
        self.root = root["id"]

    def resource(self, part: str) -> str:
        made = self.gateway.create_resource(
            restApiId=self.api_id, parentId=self.root, pathPart=part
        )
        return str(made["id"])

    def method(self, resource_id: str, http_method: str, *, key: bool, auth: str = "NONE") -> None:
        self.gateway.put_method(
            restApiId=self.api_id,
            resourceId=resource_id,
            httpMethod=http_method,
            authorizationType=auth,
            apiKeyRequired=key,
        )

    def deploy(self, **kw: Any) -> dict[str, Any]:
        made: dict[str, Any] = self.gateway.create_deployment(restApiId=self.api_id, **kw)
        made.pop("ResponseMetadata")
        return made

    def summary(self, deployment_id: str) -> Any:
        return self.gateway.get_deployment(
            restApiId=self.api_id, deploymentId=deployment_id, embed=["apisummary"]
        )["apiSummary"]

    def stage(self, name: str) -> dict[str, Any]:
        stages = self.gateway.get_stages(restApiId=self.api_id)["item"]
        return next(stage for stage in stages if stage["stageName"] == name)


@pytest.fixture
def api(gateway: Any) -> Api:
    api = Api(gateway)
    api.method(api.root, "GET", key=False)
    api.method(api.resource("books"), "POST", key=True, auth="AWS_IAM")
    return api


BOOKS = {
    "/": {"GET": {"authorizationType": "NONE", "apiKeyRequired": False}},
    "/books": {"POST": {"authorizationType": "AWS_IAM", "apiKeyRequired": True}},
}


def test_a_deployment_sums_up_its_methods_if_it_is_asked_to(api: Api) -> None:
    made = api.deploy(stageName="prod", description="first")
    assert made.keys() == {"id", "description", "createdDate"}
    bare = api.gateway.get_deployment(restApiId=api.api_id, deploymentId=made["id"])
    bare.pop("ResponseMetadata")
    assert bare == made
    assert api.summary(made["id"]) == BOOKS
    [listed] = api.gateway.get_deployments(restApiId=api.api_id)["items"]
    assert listed == made


def test_a_deployment_keeps_the_methods_as_they_were_when_it_was_made(api: Api) -> None:
    first = api.deploy(stageName="prod")["id"]
    api.method(api.root, "GET", key=True)
    second = api.deploy(stageName="web")["id"]
    api.gateway.delete_method(restApiId=api.api_id, resourceId=api.root, httpMethod="GET")
    assert api.summary(first) == BOOKS
    assert api.summary(second)["/"]["GET"]["apiKeyRequired"] is True
    assert (api.stage("prod")["deploymentId"], api.stage("web")["deploymentId"]) == (first, second)


def test_a_canary_is_deployed_beside_what_the_stage_serves(api: Api) -> None:
    first = api.deploy(stageName="prod")["id"]
    canary = api.deploy(stageName="prod", canarySettings={"percentTraffic": 10.0})["id"]
    stage = api.stage("prod")
    assert stage["deploymentId"] == first != canary
    assert stage["canarySettings"] == {"percentTraffic": 10.0, "deploymentId": canary}


@pytest.mark.parametrize(
    ("stage", "message"),
    [
        (
            {},
            f"{WRONG}{NO_STAGE} Provided value is null",
        ),
        (
            {"stageName": "gone"},
            f"{WRONG}Stage gone must already be created before making a canary release deployment",
        ),
    ],
)
def test_a_canary_of_no_stage_is_refused(api: Api, stage: dict[str, str], message: str) -> None:
    with pytest.raises(ClientError) as error:
        api.deploy(canarySettings={"percentTraffic": 10.0}, **stage)
    assert error.value.response["Error"] == {"Code": "BadRequestException", "Message": message}
    assert api.gateway.get_deployments(restApiId=api.api_id)["items"] == []


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        ({"deploymentId": "gone"}, "NotFoundException"),
        ({"restApiId": "gone"}, "NotFoundException"),
        ({"embed": ["resources"]}, "BadRequestException"),
    ],
)
def test_what_is_not_there_is_not_shown(api: Api, asked: dict[str, Any], code: str) -> None:
    there = {"restApiId": api.api_id, "deploymentId": api.deploy()["id"]}
    with pytest.raises(ClientError) as error:
        api.gateway.get_deployment(**{**there, **asked})
    assert error.value.response["Error"]["Code"] == code
    with pytest.raises(ClientError, match="NotFoundException"):
        api.gateway.get_deployments(restApiId="gone")


def test_a_stacks_deployment_sums_up_what_its_template_says(sandbox: Sandbox, gateway: Any) -> None:
    """`ApiKeyRequired` comes as a text from some tools."""
    cloudformation = sandbox.client("cloudformation")
    resources = {
        "Api": {"Type": "AWS::ApiGateway::RestApi", "Properties": {"Name": "by stack"}},
        "Method": {
            "Type": "AWS::ApiGateway::Method",
            "Properties": {
                "RestApiId": {"Ref": "Api"},
                "ResourceId": {"Fn::GetAtt": ["Api", "RootResourceId"]},
                "HttpMethod": "GET",
                "AuthorizationType": "NONE",
                "ApiKeyRequired": "true",
                "Integration": {"Type": "MOCK"},
            },
        },
        "Deployment": {
            "Type": "AWS::ApiGateway::Deployment",
            "DependsOn": "Method",
            "Properties": {"RestApiId": {"Ref": "Api"}, "StageName": "dev"},
        },
    }
    cloudformation.create_stack(
        StackName="serves", TemplateBody=json.dumps({"Resources": resources})
    )
    cloudformation.get_waiter("stack_create_complete").wait(
        StackName="serves", WaiterConfig={"Delay": 0.1}
    )
    made = cloudformation.describe_stack_resources(StackName="serves")["StackResources"]
    ids = {one["LogicalResourceId"]: one["PhysicalResourceId"] for one in made}
    answer = gateway.get_deployment(
        restApiId=ids["Api"], deploymentId=ids["Deployment"], embed=["apisummary"]
    )
    assert answer["apiSummary"] == {
        "/": {"GET": {"authorizationType": "NONE", "apiKeyRequired": True}}
    }
    cloudformation.delete_stack(StackName="serves")


def test_a_right_on_deployments_is_none_on_stages(sandbox: Sandbox, api: Api) -> None:
    deployment_id = api.deploy(stageName="prod")["id"]
    arn = "arn:aws:apigateway:us-east-1::/restapis/*/deployments/*"
    right = {"Effect": "Allow", "Action": "apigateway:GET", "Resource": arn}
    role = sandbox.client("apigateway", **sandbox.role("reader-of-deployments", right))
    asked = {"restApiId": api.api_id, "deploymentId": deployment_id, "embed": ["apisummary"]}
    assert role.get_deployment(**asked)["apiSummary"] == BOOKS
    for call, given in ((role.get_stages, {"restApiId": api.api_id}), (role.get_rest_apis, {})):
        with pytest.raises(ClientError, match="AccessDenied"):
            call(**given)
    calls = [(call.operation, call.status) for call in sandbox.calls("reader-of-deployments")]
    assert calls == [("GetDeployment", 200), ("GetStages", 403), ("GetRestApis", 403)]
