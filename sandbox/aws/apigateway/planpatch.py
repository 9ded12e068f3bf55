"""Patch operations on usage plans, as UpdateUsagePlan documents them (doc: AF-337)."""

from sandbox.aws.apigateway.stages import check_added_stage
from sandbox.aws.apigateway.stores import Record
from sandbox.aws.wire import Refused


def patch_plan(plan: Record, op: str, path: str, value: str) -> None:
    """Apply one patch operation to a usage plan. Raises Refused for one that is not documented."""
    parts = [part.replace("~1", "/").replace("~0", "~") for part in path.split("/")[1:]]
    match (op, parts):
        case ("replace", ["name" | "description" | "productCode" as field]):
            plan[field] = value
        case ("replace" | "add", ["throttle" | "quota" as block, field]):
            plan.setdefault(block, {})[field] = _limit(block, field, value)
        case ("remove", ["throttle" | "quota" as field]):
            plan.pop(field, None)
        case (_, ["apiStages", *rest]):
            _patch_stages(plan, op, rest, value)
        case _:
            raise _invalid(op, path)


def _patch_stages(plan: Record, op: str, parts: list[str], value: str) -> None:
    match (op, parts):
        case ("add", []):
            api_id, _, stage = value.partition(":")
            check_added_stage(plan["id"], api_id, stage)
            if any(_id_of(entry) == value for entry in plan.get("apiStages") or []):
                raise Refused("ConflictException", "Usage plan already covers this stage")
            plan.setdefault("apiStages", []).append({"apiId": api_id, "stage": stage})
        case ("remove", []):
            plan["apiStages"].remove(_stage_of(plan, value))
        case ("replace" | "add", [stage_id, "throttle", *route, field]):
            limits = _stage_of(plan, stage_id).setdefault("throttle", {})
            limits.setdefault("/".join(route), {})[field] = _limit("throttle", field, value)
        case ("remove", [stage_id, "throttle"]):
            _stage_of(plan, stage_id).pop("throttle", None)
        case ("remove", [stage_id, "throttle", *route]):
            _stage_of(plan, stage_id).get("throttle", {}).pop("/".join(route), None)
        case _:
            raise _invalid(op, "/".join(["/apiStages", *parts]))


def _id_of(entry: Record) -> str:
    return f"{entry.get('apiId')}:{entry.get('stage')}"


def _stage_of(plan: Record, stage_id: str) -> Record:
    for entry in plan.get("apiStages") or []:
        if _id_of(entry) == stage_id:
            found: Record = entry
            return found
    raise Refused("NotFoundException", "Invalid stage identifier specified")


def _limit(block: str, field: str, value: str) -> str | int | float:
    """A limit's value as it is stored, from the text of a patch."""
    try:
        match (block, field):
            case ("throttle", "rateLimit"):
                return float(value)
            case ("throttle", "burstLimit") | ("quota", "limit" | "offset"):
                return int(value)
            case ("quota", "period") if value in ("DAY", "WEEK", "MONTH"):
                return value
            case _:
                raise _invalid("replace", f"/{block}/{field}")
    except ValueError:
        raise Refused("BadRequestException", f"Invalid {field} specified") from None


def _invalid(op: str, path: str) -> Refused:
    return Refused("BadRequestException", f"Invalid patch path '{path}' for op '{op}'")
