"""What keyjanitor does for controls of NIST SP 800-53 Rev. 5: one table, and the page and OSCAL made of it."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from textwrap import TextWrapper
from typing import Any
from uuid import UUID, uuid5

CATALOG = "https://csrc.nist.gov/pubs/sp/800/53/r5/upd1/final"
CATALOG_JSON = (
    "https://raw.githubusercontent.com/usnistgov/oscal-content/main/"
    "nist.gov/SP800-53/rev5/json/NIST_SP-800-53_rev5_catalog.json"
)
# The same on every machine: each id of the definition is made of this one and of what it names.
NAMESPACE = UUID("5b0f6f0e-0c8f-5a0e-9c61-5d1f0f1a7c53")
CHANGED = "2026-11-28T00:00:00+00:00"  # when this table was changed last
VERSION = "1.0.0"  # of this table
OSCAL_VERSION = "1.2.1"
WIDTH = 130  # of a line of the page


@dataclass(frozen=True, slots=True)
class Does:
    """Something that keyjanitor does, and where it is promised, written or tested."""

    what: str
    proofs: tuple[
        str, ...
    ]  # paths of the repository; `PATH::test` names a test, `PATH#heading` a part of a page


@dataclass(frozen=True, slots=True)
class Control:
    """One control: what keyjanitor does for it, what it does not, and what is left to you."""

    control_id: str  # as in NIST's catalog
    label: str
    title: str
    does: tuple[Does, ...]
    does_not: tuple[str, ...]
    yours: tuple[str, ...]


EXPIRY = "layers/keyjanitor/keyjanitor/domain/expiry"
REQUESTS = "layers/keyjanitor/keyjanitor/domain/requests"
LIFE = "docs/life-of-a-key.md"
OF_LIFE = "tests/unit/expiry/test_life_of_a_key.py"
TEMPLATE = "tests/contract/template/test_template.py"

CONTROLS = (
    Control(
        "ac-2.3",
        "AC-2(3)",
        "Account management: disable accounts",
        (
            Does(
                "A key without a request is warned, disabled and parked (deleted, with an encrypted copy) on dates that "
                "are written down when they are announced: by default warned after 60 idle days, or 14 if it was "
                "never used, and disabled 14 days later. Each tier sets its own days.",
                (
                    f"{LIFE}#states",
                    f"{EXPIRY}/next_step.py",
                    f"{OF_LIFE}::test_a_key_idle_since_its_last_use_is_warned_on_day_60_disabled_on_74_and_parked_on_88",
                    f"{OF_LIFE}::test_a_key_never_used_is_warned_on_day_14_disabled_on_day_28_and_parked_on_day_42",
                ),
            ),
            Does(
                "A key that was issued until a date, or replaced by a rotation, is disabled when that date has come, "
                "used or not.",
                (
                    "docs/decisions/0004-ends-and-idleness.md",
                    "tests/contract/services/test_request_keys.py::test_an_agreed_end_stays_when_the_key_is_renewed_before_it",
                ),
            ),
            Does(
                "Every enabled key without a request for longer than the declared days (`declared_inactivity_days`) is "
                "named in the report with exactly one reason why it is enabled.",
                (
                    "docs/report.md#inactive-and-still-enabled",
                    "layers/keyjanitor/keyjanitor/domain/doctor/inactivity.py",
                    "tests/unit/doctor/test_inactivity.py::test_each_enabled_key_beyond_the_days_has_exactly_one_reason_and_none_within_has_one",
                ),
            ),
            Does(
                "A key can be disabled for good at once: a request revokes it, and its value does not come back.",
                (
                    "docs/requests.md",
                    "tests/contract/services/test_revoked_stays_revoked.py::test_a_revocation_at_any_moment_of_an_issue_leaves_no_revoked_value_alive",
                ),
            ),
        ),
        (
            (
                "It does not disable a key whose use is not known: an unread plan, a plan without any request, an outage. "
                "Unknown is kept, and named."
            ),
            (
                "It does not touch keys that other tools own, that are tagged `keyjanitor:keep` or protected, or whose tier "
                "expires no keys or has no contact."
            ),
            "It disables nothing in mode `observe`, which is the default, on hold, or while no confirmed subscription receives alerts.",
            "It does not learn by itself that a person has left, or that a key is used against the rules.",
        ),
        (
            (
                "Set `Mode=park` or `Mode=disable`, and days so that `idle_days` and `warn_days` together are not above what you "
                "declare."
            ),
            "Go through the keys beyond the declared days, and through `exceptions.csv` of each month.",
        ),
    ),
    Control(
        "ac-2.4",
        "AC-2(4)",
        "Account management: automated audit actions",
        (
            Does(
                "What keyjanitor does to a key (issue, rotate, renew, warn, disable, park, restore, revoke, purge, "
                "protect, release) is an event, written down in one transaction with what it is about. A run that ends "
                "at any call leaves it to the next.",
                (
                    "docs/events.md",
                    "layers/keyjanitor/keyjanitor/adapters/ledger.py",
                    "tests/contract/services/test_faults.py::test_a_sweep_cut_off_at_any_call_and_run_again_ends_where_it_would_have_ended",
                ),
            ),
            Does(
                "A rule on the bus writes every event to the audit log. Only the roles of two functions can put "
                "events of keyjanitor on that bus.",
                (
                    "docs/audit.md#the-audit-log",
                    "template.yaml",
                    "tests/contract/template/test_rights.py",
                ),
            ),
            Does(
                "Alarms say when an event did not reach the audit log.",
                ("docs/runbook.md", "template.yaml"),
            ),
            Does(
                "A folder a month has the keys at the month's end, each action with the id of its event, and the exceptions.",
                (
                    "docs/audit.md#the-audit-folder-of-a-month",
                    "tests/contract/services/test_audit_folder.py::test_every_number_agrees_with_the_events",
                ),
            ),
        ),
        (
            "It does not record what others do to keys, in the console or with other tools: CloudTrail does.",
            "It does not record who opened a delivered value (CloudTrail: `Decrypt`), or who set a hold.",
            "It records who asked by the id of a role or user, which may be shared by people.",
        ),
        (
            "Keep CloudTrail on, with data events of the functions if operators invoke them.",
            "Watch `AuditFailedAlarm` and `AuditLostAlarm`.",
        ),
    ),
    Control(
        "ia-4",
        "IA-4",
        "Identifier management",
        (
            Does(
                "A key is issued only to a sender that its tier names, by the id that SQS gives of who sent the message; "
                "others are refused, with a code.",
                (
                    "docs/requests.md",
                    f"{REQUESTS}/admission.py",
                    "tests/unit/requests/test_admission.py::test_keys_are_issued_to_the_senders_of_the_tier",
                ),
            ),
            Does(
                "Each issued key has an owner, a tier and who asked for it in the ledger, for as long as it lives and 400 days "
                "after.",
                (
                    "docs/decisions/0002-the-ledger.md",
                    "layers/keyjanitor/keyjanitor/domain/model/records.py",
                ),
            ),
            Does(
                "One request makes one key, however often its message comes; no value that was revoked or is parked is "
                "issued again.",
                (
                    "docs/decisions/0018-no-value-is-imported-twice.md",
                    "tests/contract/services/test_revoked_stays_revoked.py::test_a_key_that_is_revoked_after_its_run_died_at_any_call_stays_so",
                ),
            ),
        ),
        (
            "API Gateway chooses the ids of keys, and a restored key has a new id with its old value: events have both.",
            "It does not prove who the person behind an owner is; it keeps the owner that a sender or a rule names.",
            "It does not know the owner of a key that others made, unless it is told.",
        ),
        (
            "Name senders and admins in `policy.toml`, and give owners that mean one person or system.",
        ),
    ),
    Control(
        "ia-5.1",
        "IA-5(1)",
        "Authenticator management: password-based authentication",
        (
            Does(
                "A value that keyjanitor makes has 178 bits from the system's cryptographic source, and a checksum by which "
                "scanners recognise it.",
                (
                    "layers/keyjanitor/keyjanitor/domain/model/key_values.py",
                    "docs/secret-scanning.md",
                ),
            ),
            Does(
                "A value leaves API Gateway only as KMS sealed it: for the recipient that the request names, or in the copy "
                "of a parked key. No value is in a log, event, alert, report, table or file in the clear.",
                (
                    "docs/recipient.md",
                    "layers/keyjanitor/keyjanitor/adapters/kms.py",
                    "tests/contract/services/test_secrets.py::test_no_value_is_readable_anywhere_in_a_whole_life_of_keys",
                ),
            ),
            Does(
                "Bucket, queues and topic refuse requests without TLS.",
                (
                    "template.yaml",
                    "tests/sandbox/test_rights.py::test_a_bucket_that_demands_tls_is_open_to_a_role",
                ),
            ),
            Does(
                "A key is replaced by a rotation with an overlap, and a leaked one is revoked at once.",
                ("docs/requests.md", "docs/secret-scanning.md"),
            ),
        ),
        (
            (
                "It stores no salted hash: API Gateway keeps values so that whoever may read them with `includeValue` can, and the "
                "copy of a parked key has to give the same value back."
            ),
            (
                "It does not compare values with lists of those that are known to have leaked, and does not judge values that "
                "others chose."
            ),
            (
                "It has no composition rules and no password of a person: an API key names a client, and is not meant to be the "
                "only thing that lets a person in."
            ),
        ),
        (
            "Put an authorizer before what has to know a person.",
            "Let few roles read API keys with their values.",
        ),
    ),
    Control(
        "au-11",
        "AU-11",
        "Audit record retention",
        (
            Does(
                "Events are kept for `AuditLogDays` (400 by default, up to 3653) in a log group that stays when the stack is "
                "deleted.",
                (
                    "docs/audit.md#the-audit-log",
                    f"{TEMPLATE}::test_key_ledger_bucket_and_audit_log_outlive_the_stack",
                ),
            ),
            Does(
                "The folders of the months, and their older versions, are kept for `AuditFolderDays`.",
                (
                    "docs/audit.md#the-audit-folder-of-a-month",
                    f"{TEMPLATE}::test_audit_folders_and_their_older_versions_are_kept_for_days_of_their_own",
                ),
            ),
            Does(
                "With `AuditLock` the files of a folder are under S3 Object Lock for as long as they are kept.",
                (
                    "docs/audit.md#lock-the-folders",
                    "tests/contract/services/test_audit_folder.py::test_every_file_is_locked_for_as_long_as_it_is_kept_if_that_is_asked_for",
                ),
            ),
            Does(
                "A folder's manifest shows whether a file was changed since it was written; none of keyjanitor's roles may "
                "delete there.",
                (
                    "layers/keyjanitor/keyjanitor/domain/report/audit_files.py",
                    "tests/contract/services/test_audit_folder.py::test_the_folder_is_written_on_the_first_run_of_the_next_month_and_verifies",
                ),
            ),
        ),
        (
            (
                "It does not stop an administrator of the account from deleting the log group, or folders that are not locked, "
                "and copies nothing to another account."
            ),
            "It does not keep CloudTrail's records.",
        ),
        (
            (
                "Set the days that your retention schedule asks for, and copy folders to where administrators of this account "
                "cannot write, if that is asked for."
            ),
        ),
    ),
    Control(
        "si-12",
        "SI-12",
        "Information management and retention",
        (
            Does(
                "Each kind of file has its days, set by parameters and carried out by lifecycle rules: usage, keys and reports "
                "`HistoryDays`, folders `AuditFolderDays`, logs `LogRetentionDays` and `AuditLogDays`.",
                (
                    "docs/history.md#what-it-costs-and-how-long-it-is-kept",
                    f"{TEMPLATE}::test_the_history_is_kept_as_long_as_is_said_and_evidence_as_long_as_a_night_looks_back",
                ),
            ),
            Does(
                "The copy of a parked key is destroyed, every version of it, on the date that was announced, and at once when "
                "the key is revoked.",
                (
                    f"{LIFE}#states",
                    f"{OF_LIFE}::test_a_parked_key_is_purged_on_its_date_and_not_before",
                    "tests/contract/services/test_request_keys.py::test_every_version_of_a_revoked_keys_tombstone_is_destroyed",
                ),
            ),
            Does(
                "Rows of keys that are gone leave the ledger after 400 days.",
                ("layers/keyjanitor/keyjanitor/adapters/ledger.py",),
            ),
        ),
        (
            (
                "It has no legal hold, and does not delete one person's data from files that are written: names and owners stay "
                "until the days are over."
            ),
            "It does not classify what people write into names, owners and reasons.",
        ),
        ("Give opaque owners instead of mail addresses, and set the days that your rules allow.",),
    ),
)

INTRO = f"""# Controls

What keyjanitor does, and does not do, for six controls of [NIST SP 800-53 Rev. 5]({CATALOG}).
It is support for your own assessment and no statement of compliance: an organisation meets a control, a tool only helps. Each
line names the page, the code or the test on which it rests. [The audit trail](audit.md) has what an auditor takes along.

For tools the same is in OSCAL, as a component definition:
[controls/component-definition.json](controls/component-definition.json). Its ids stay the same from release to release, and a
test validates it with compliance-trestle. This page and the definition are made from one table (`tests/controls.py`, `make docs`).
"""


def controls_page() -> str:
    """docs/controls.md."""
    return INTRO + "".join(f"\n{part}" for control in CONTROLS for part in _section(control))


def _section(control: Control) -> Iterator[str]:
    yield f"## {control.label}: {_title(control)}\n"
    yield "**It does:**\n"
    yield _items(
        f"{one.what} Shown by {', '.join(_link(proof) for proof in one.proofs)}."
        for one in control.does
    )
    yield "**It does not:**\n"
    yield _items(control.does_not)
    yield "**Yours to do:**\n"
    yield _items(control.yours)


def _items(texts: Iterable[str]) -> str:
    lines = TextWrapper(
        WIDTH,
        initial_indent="- ",
        subsequent_indent="  ",
        break_long_words=False,
        break_on_hyphens=False,
    )
    return "".join(f"{lines.fill(text)}\n" for text in texts)


def _title(control: Control) -> str:
    return control.title.rpartition(": ")[2].lower()


def _link(proof: str) -> str:
    path, _, test = proof.partition("::")
    name = path.rpartition("/")[2]
    shown = f"`{test}`" if test else f"`{name.partition('#')[0]}`"
    target = path.removeprefix("docs/") if path.startswith("docs/") else f"../{path}"
    return f"[{shown}]({target})"


def component_definition() -> str:
    """docs/controls/component-definition.json: OSCAL, with the same ids every time."""
    document = {
        "component-definition": {
            "uuid": _id("component-definition"),
            "metadata": {
                "title": "keyjanitor, controls of NIST SP 800-53 Rev. 5 that it supports",
                "last-modified": CHANGED,
                "version": VERSION,
                "oscal-version": OSCAL_VERSION,
                "remarks": "Support for an assessment, and no statement of compliance.",
            },
            "components": [_component()],
        }
    }
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def _component() -> dict[str, Any]:
    return {
        "uuid": _id("component"),
        "type": "software",
        "title": "keyjanitor",
        "description": "Warns about, disables and parks idle API keys of Amazon API Gateway, and issues keys on request.",
        "control-implementations": [
            {
                "uuid": _id("control-implementation"),
                "source": CATALOG_JSON,
                "description": "What keyjanitor does and does not do for each control.",
                "implemented-requirements": [_requirement(one) for one in CONTROLS],
            }
        ],
    }


def _requirement(control: Control) -> dict[str, Any]:
    proofs = sorted({proof for one in control.does for proof in one.proofs})
    return {
        "uuid": _id(control.control_id),
        "control-id": control.control_id,
        "description": "\n".join(one.what for one in control.does),
        "props": [
            {
                "uuid": _id(f"{control.control_id} status"),
                "name": "implementation-status",
                "value": "partial",
            }
        ],
        "links": [
            {"href": f"../../{proof.partition('::')[0]}", "rel": "reference", "text": proof}
            for proof in proofs
        ],
        "remarks": "It does not: "
        + " ".join(control.does_not)
        + "\nYours to do: "
        + " ".join(control.yours),
    }


def _id(name: str) -> str:
    return str(uuid5(NAMESPACE, name))
