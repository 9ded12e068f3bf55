"""deploy/terraform/ has every parameter and output of template.yaml, and is read by a parser of HCL."""

import re
from pathlib import Path
from typing import Any

import hcl2
import pytest

from tests.template import TEMPLATE
from tests.terraform_module import (
    BOOLEANS,
    default,
    outputs,
    parameters,
    text,
    validations,
    variable_name,
    variables,
)

ROOT = Path(__file__).parents[3]
MODULE = ROOT / "deploy" / "terraform"
PAGE = (ROOT / "docs" / "terraform.md").read_text("utf-8")
REQUESTS = (ROOT / "docs" / "requests.md").read_text("utf-8")
FILES = sorted(MODULE.glob("*.tf"))


def read(code: str) -> dict[str, Any]:
    """A file of Terraform, its texts without the quotes that the parser leaves around them."""
    found: dict[str, Any] = bare(hcl2.loads(code))
    return found


def bare(value: Any) -> Any:
    if isinstance(value, str):
        return value[1:-1] if re.fullmatch(r'".*"', value, flags=re.S) else value
    if isinstance(value, list):
        return [bare(one) for one in value]
    if isinstance(value, dict):
        return {bare(name): bare(one) for name, one in value.items() if not name.startswith("__")}
    return value


def module() -> dict[str, list[Any]]:
    """All blocks of the module, by kind."""
    found: dict[str, list[Any]] = {}
    for path in FILES:
        for kind, blocks in read(path.read_text("utf-8")).items():
            found.setdefault(kind, []).extend(blocks)
    return found


def named(blocks: list[dict[str, Any]]) -> dict[str, Any]:
    """Blocks with one label, by it; each label is there once."""
    pairs = [(name, one) for block in blocks for name, one in block.items()]
    assert len(dict(pairs)) == len(pairs)
    return dict(pairs)


OWN = {
    "packaged_template",
    "artifacts_bucket",
    "artifacts_prefix",
    "stack_name",
    "cloudformation_role_arn",
    "tags",
}


def test_the_variables_are_the_templates_parameters_and_the_modules_own() -> None:
    found = named(module()["variable"])
    expected = {variable_name(name): one for name, one in TEMPLATE["Parameters"].items()}
    assert len(expected) == len(TEMPLATE["Parameters"])
    assert found.keys() == expected.keys() | OWN
    for name, variable in found.items():
        assert variable["description"].endswith("."), name
        assert variable["type"], name
    for name, parameter in expected.items():
        assert found[name]["description"] == " ".join(parameter["Description"].split()).replace(
            '"', '\\"'
        )


def test_a_default_is_the_templates_and_what_it_does_not_allow_is_refused() -> None:
    found = named(module()["variable"])
    for parameter_name, parameter in TEMPLATE["Parameters"].items():
        variable = found[variable_name(parameter_name)]
        given = parameter["Default"]
        wanted: Any = given
        if parameter["Type"] == "CommaDelimitedList":
            wanted = [one for one in given.split(",") if one]
        elif parameter.get("AllowedValues") == BOOLEANS:
            wanted = given == "true"
        assert variable["default"] == wanted, parameter_name
        is_bounded = {"AllowedValues", "MinValue", "AllowedPattern"} & parameter.keys()
        is_boolean = parameter.get("AllowedValues") == BOOLEANS
        assert ("validation" in variable) == bool(is_bounded and not is_boolean), parameter_name


def test_the_stack_gets_every_parameter_and_nothing_else() -> None:
    [local] = module()["locals"]
    handed = local["parameters"]
    assert handed.keys() == TEMPLATE["Parameters"].keys()
    for name, value in handed.items():
        assert re.findall(r"var\.(\w+)", value) == [variable_name(name)]


def test_the_outputs_are_the_stacks() -> None:
    found = named(module()["output"])
    assert {
        name: re.findall(r'outputs\["(\w+)"\]', str(one["value"])) for name, one in found.items()
    } == {variable_name(name): [name] for name in TEMPLATE["Outputs"]}


def test_the_stack_is_made_from_the_template_in_the_bucket() -> None:
    resources = {kind: one for block in module()["resource"] for kind, one in block.items()}
    assert resources.keys() == {"aws_s3_object", "aws_cloudformation_stack"}
    stack = resources["aws_cloudformation_stack"]["keyjanitor"]
    assert stack["capabilities"] == ["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"]
    assert "aws_s3_object.template.key" in stack["template_url"]
    assert stack["parameters"] == "${local.parameters}"
    used = set(re.findall(r"\bvar\.(\w+)", "".join(path.read_text("utf-8") for path in FILES)))
    assert used == named(module()["variable"]).keys()


@pytest.mark.parametrize(
    ("name", "made"),
    [("variables", variables), ("parameters", parameters), ("outputs", outputs)],
)
def test_what_is_made_from_the_template_is_as_it_is_now(name: str, made: Any) -> None:
    assert (MODULE / f"{name}.tf").read_text("utf-8") == made(), "run `make docs`"


def test_a_text_that_hcl_would_fill_in_is_written_out() -> None:
    assert text('a "${b}" %{c}\n') == '"a \\"$${b}\\" %%{c}\\n"'
    assert variable_name("SealingKeyArn") == "sealing_key_arn"
    assert variable_name("RequestQueueUrl") == "request_queue_url"
    assert default({"Type": "CommaDelimitedList", "Default": "a,b"}) == '["a", "b"]'
    [one] = validations("x", {"Type": "Number", "MinValue": 3})
    assert "var.x >= 3" in one


def hcl_blocks(page: str) -> list[str]:
    return re.findall(r"^```hcl\n(.*?)^```$", page, flags=re.M | re.S)


@pytest.mark.parametrize("page", [PAGE, REQUESTS], ids=["terraform.md", "requests.md"])
def test_what_the_pages_show_is_read_too(page: str) -> None:
    blocks = hcl_blocks(page)
    assert blocks
    for block in blocks:
        assert read(block)


def test_the_page_gives_variables_that_there_are() -> None:
    variables_of_module = named(module()["variable"])
    [call] = [one for block in hcl_blocks(PAGE) for one in read(block).get("module", ())]
    given = call["keyjanitor"].keys() - {"source"}
    assert given <= variables_of_module.keys()
    needed = {name for name, one in variables_of_module.items() if "default" not in one}
    assert needed == {"packaged_template", "artifacts_bucket"} <= given


def test_the_senders_snippet_allows_what_the_pages_policy_allows() -> None:
    [snippet] = hcl_blocks(REQUESTS)
    resources = {kind: one for block in read(snippet)["resource"] for kind, one in block.items()}
    assert resources.keys() == {
        "aws_sqs_queue",
        "aws_sqs_queue_policy",
        "aws_cloudwatch_event_rule",
        "aws_cloudwatch_event_target",
    }
    for word in ("events.amazonaws.com", "sqs:SendMessage", "aws:SourceArn", '"portal-"'):
        assert word in snippet


def test_a_file_that_is_no_hcl_is_found() -> None:
    with pytest.raises(Exception, match="Unexpected"):
        read('variable "a" {\n  default = \n}\n')
