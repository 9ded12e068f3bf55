"""Makes the report of an account that was read from files, as publish_report makes it."""

from datetime import datetime

from keyjanitor.domain.doctor.checks import find_problems
from keyjanitor.domain.doctor.checkup import Checkup
from keyjanitor.domain.expiry.keys_file import key_lines
from keyjanitor.domain.expiry.outlook import warnings_ahead
from keyjanitor.domain.expiry.pressure import freed_by_pressure
from keyjanitor.domain.model.keys import DAY, Mode
from keyjanitor.domain.report.document import report
from keyjanitor.domain.report.html import render
from keyjanitor.domain.report.morning import Morning
from keyjanitor.domain.usage.summary import USE_DAYS, Use
from keyjanitor.domain.usage.usage_file import UsageFiles
from keyjanitor_cli.whatif.account import Account
from keyjanitor_cli.whatif.verdicts import Judged, ahead

NOT_LISTED = "what each stage serves: it is not among the files, so it is not known which keys protect nothing"


def page_of(account: Account, judged: Judged, made_at: datetime) -> bytes:
    """The page of the report, without the parts that need the ledger or the account's APIs."""
    checkup = Checkup(
        today=account.today,
        keys=account.keys,
        bound=judged.bound,
        evidence=account.evidence,
        plans=account.plans,
        unread=(NOT_LISTED,),
    )
    morning = Morning(
        today=account.today,
        made_at=made_at,
        account=None,
        region=None,
        stack=None,
        mode=Mode.OBSERVE,
        policy=judged.bound.policy,
        checkup=checkup,
        findings=find_problems(checkup),
        counts={},
        nights={},
        pressure_row=freed_by_pressure(judged.night, judged.bound, judged.plan),
        held=None,
        use=_use(account),
        lines=list(key_lines(judged.plan)),
        lines_of=account.today,
        purged=0,
        ahead=ahead(judged),
        ahead_mode=Mode.PARK,
        warn_on=warnings_ahead(judged.night, judged.bound),
    )
    return render(report(morning))


def _use(account: Account) -> Use:
    files = UsageFiles(account.evidence, account.usages, None)
    use = Use([account.today - DAY * back for back in range(USE_DAYS, 0, -1)])
    for day in use.days:
        use.add(day, files.rows(day, ()))
    return use
