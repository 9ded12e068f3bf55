"""Talks to the history bucket: evidence, usage, keys, tombstones, saved plans and audit folders."""

from typing import Any

from keyjanitor.adapters.bucket import Bucket
from keyjanitor.adapters.history_audit import AuditFiles
from keyjanitor.adapters.history_daily import DailyFiles
from keyjanitor.adapters.history_evidence import EvidenceFiles
from keyjanitor.adapters.history_sweeps import SweepFiles
from keyjanitor.adapters.history_tombstones import TombstoneFiles


class HistoryBucket:
    """The files of one history bucket. All that is compressed is so byte for byte the same again.

    A class for each kind of file does the work; this one only has their methods in one place.
    """

    def __init__(self, client: Any, bucket: str) -> None:
        files = Bucket(client, bucket)
        evidence = EvidenceFiles(files)
        self.evidence = evidence.evidence
        self.evidence_before = evidence.evidence_before
        self.latest_evidence = evidence.latest_evidence
        self.evidence_after = evidence.evidence_after
        self.put_evidence = evidence.put_evidence
        self.partials = evidence.partials
        self.put_partial = evidence.put_partial
        daily = DailyFiles(files)
        self.usage, self.put_usage = daily.usage, daily.put_usage
        self.keys, self.put_keys = daily.keys, daily.put_keys
        self.has_keys = daily.has_keys
        self.put_dry_run = daily.put_dry_run
        self.put_report = daily.put_report
        audits = AuditFiles(files)
        self.audit_file, self.put_audit_file = audits.audit_file, audits.put_audit_file
        sweeps = SweepFiles(files)
        self.saved_sweep_plan, self.save_sweep_plan = (
            sweeps.saved_sweep_plan,
            sweeps.save_sweep_plan,
        )
        self.put_approval = sweeps.put_approval
        self.compared_before, self.put_compared = sweeps.compared_before, sweeps.put_compared
        tombstones = TombstoneFiles(files)
        self.put_tombstone, self.open_tombstone = (
            tombstones.put_tombstone,
            tombstones.open_tombstone,
        )
        self.has_tombstone = tombstones.has_tombstone
        self.destroy_tombstone = tombstones.destroy_tombstone
