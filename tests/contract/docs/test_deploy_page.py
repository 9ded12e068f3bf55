"""docs/deploy.md, and the parameters that samconfig.toml lists, are what the template has."""

import json
import re
import tomllib
from pathlib import Path

from tests.template import TEMPLATE

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "deploy.md").read_text("utf-8")
README = (ROOT / "README.md").read_text("utf-8")
CONFIG = tomllib.loads((ROOT / "samconfig.toml").read_text("utf-8"))
# What AWS's policy PowerUserAccess leaves out is roles; these services are in it.
SERVICES = {
    "CloudWatch": "CloudWatch",
    "DynamoDB": "DynamoDB",
    "Events": "EventBridge",
    "Glue": "Glue",
    "IAM": "roles",
    "KMS": "KMS",
    "Logs": "CloudWatch Logs",
    "S3": "S3",
    "SNS": "SNS",
    "SQS": "SQS",
    "SSM": "Systems Manager",
    "Serverless": "Lambda",
}


def section(heading: str) -> str:
    _, _, rest = PAGE.partition(f"\n## {heading}\n")
    assert rest, heading
    return rest.split("\n## ")[0]


def test_the_listed_parameters_are_the_templates_with_its_defaults() -> None:
    given = dict(
        one.split("=", 1)
        for one in CONFIG["default"]["deploy"]["parameters"]["parameter_overrides"]
    )
    assert {"Mode", "AlertEmail"} <= given.keys()
    defaults = {name: TEMPLATE["Parameters"][name]["Default"] for name in given}
    assert {name: value.strip('"') for name, value in given.items()} == {
        name: str(value) for name, value in defaults.items()
    }


def test_the_alarms_that_are_normal_at_first_are_those_that_say_so() -> None:
    told = set(re.findall(r"^\| `(\w+Alarm)` \|", PAGE, flags=re.M))
    assert told == {
        name
        for name, resource in TEMPLATE["Resources"].items()
        if "After a first deployment this is normal until"
        in str(resource.get("Properties", {}).get("AlarmDescription", ""))
    }
    for name in told:
        assert f"`{name}`" in README
        description = TEMPLATE["Resources"][name]["Properties"]["AlarmDescription"]["Fn::Sub"]
        [until] = re.findall(r"normal until ([^.\n]+)\.", description)
        [row] = re.findall(rf"^\| `{name}` \| (.+) \|$", PAGE, flags=re.M)
        assert re.findall(r"\d\d(?::\d\d UTC| minutes)", until) == re.findall(
            r"\d\d(?::\d\d UTC| minutes)", row
        )


def test_what_stays_after_an_uninstall_is_what_the_template_retains() -> None:
    kept = {
        name
        for name, resource in TEMPLATE["Resources"].items()
        if resource.get("DeletionPolicy", "").startswith("Retain")
        and resource["Type"] != "AWS::S3::BucketPolicy"  # the bucket's, and with it
    }
    [sentence] = re.findall(r"CloudFormation keeps (.+?)\. API keys", PAGE, flags=re.S)
    assert set(re.findall(r"`(\w+)`", sentence)) == kept
    assert sentence.startswith({4: "four"}[len(kept)])
    for name in ("LEDGER", "HISTORY_BUCKET", "AUDIT_LOG", "SEALING_KEY_ARN"):
        assert f'${name}"' in section("Uninstall")


def test_the_rights_of_who_deploys_name_every_service_of_the_template() -> None:
    kinds = {resource["Type"].split("::")[1] for resource in TEMPLATE["Resources"].values()}
    assert kinds == SERVICES.keys()
    rights = section("The rights of who deploys")
    for words in SERVICES.values():
        assert words in rights
    statement = json.loads(re.findall(r"```json\n(.+?)```", rights, flags=re.S)[0])
    assert all(action.startswith("iam:") and "*" not in action for action in statement["Action"])
    assert statement["Resource"].endswith(":role/keyjanitor-*")
