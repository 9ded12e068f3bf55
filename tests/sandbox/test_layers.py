"""A function's layers in the sandbox: its processes read one unpacked copy, before any other package."""

import io
import json
import uuid
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from sandbox.driver.client import Sandbox

pytestmark = [pytest.mark.enable_socket, pytest.mark.slow]

# The sandbox's own environment has a package of this name too.
LAYER = {"python/jmespath.py": "WHOSE = 'the layer'", "python/shared.py": "TEXT = 'once'"}
LAYER |= {f"python/many/{number}.py": "" for number in range(300)}
CODE = """
import os, jmespath, shared
def handler(event, context):
    return {"pid": os.getpid(), "whose": jmespath.WHOSE, "text": shared.TEXT,
            "file": shared.__file__, "cached": shared.__cached__}
"""


def archive_of(files: dict[str, str]) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return made.getvalue()


def functions_with(sandbox: Sandbox, layer: str, number: int) -> list[str]:
    """The names of so many functions that use a layer."""
    trust = {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}}
    document = {"Version": "2012-10-17", "Statement": [trust | {"Action": "sts:AssumeRole"}]}
    names = [f"layered-{uuid.uuid4().hex[:8]}" for _ in range(number)]
    for name in names:
        role = sandbox.client("iam").create_role(
            RoleName=name, AssumeRolePolicyDocument=json.dumps(document)
        )
        sandbox.client("lambda").create_function(
            FunctionName=name,
            Runtime="python3.13",
            Role=role["Role"]["Arn"],
            Handler="app.handler",
            Code={"ZipFile": archive_of({"app.py": CODE})},
            Layers=[layer],
            Timeout=20,
        )
    return names


def test_processes_share_what_is_unpacked_and_it_goes_with_the_sandbox() -> None:
    with Sandbox.start() as sandbox:
        published = sandbox.client("lambda").publish_layer_version(
            LayerName="layer", Content={"ZipFile": archive_of(LAYER)}
        )
        names = functions_with(sandbox, published["LayerVersionArn"], 4)
        with ThreadPoolExecutor(len(names)) as pool:
            answers = list(pool.map(sandbox.invoke, names))
        assert len({answer.pop("pid") for answer in answers}) == len(names)
        first = answers[0]
        assert answers == [first] * len(names)
        assert (first["whose"], first["text"]) == ("the layer", "once")
        assert Path(first["cached"]).is_file()
    assert not Path(first["file"]).exists()
    assert not Path(first["file"]).parents[2].exists()
