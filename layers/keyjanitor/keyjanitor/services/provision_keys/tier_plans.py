"""Finds the usage plan into which a tier's new keys go, or makes it: once, and never changed."""

from collections.abc import Callable
from datetime import datetime

from aws_lambda_powertools import Logger

from keyjanitor.domain.model.policy import Tier
from keyjanitor.domain.model.usage_plan import Shape, UsagePlan, plan_name
from keyjanitor.errors import CallFailed, Contended, EmptyListing, KeyjanitorError, PlanRefused
from keyjanitor.services.ports import MadePlans, ProvisionGateway

MAX_CLAIM_ATTEMPTS = 5  # at what another run makes, a second apart

logger = Logger(child=True)


class TierPlans:
    """The plans of the tiers, for one run. `until` is when the run must have ended (real time).

    `pause` waits for so many seconds.
    """

    def __init__(
        self,
        gateway: ProvisionGateway,
        request_store: MadePlans,
        holder: str,
        until: datetime,
        clock: Callable[[], datetime],
        pause: Callable[[float], None],
    ) -> None:
        self._gateway = gateway
        self._register = request_store
        self._holder = holder
        self._until = until
        self._clock = clock
        self._pause = pause
        self._listed: list[UsagePlan] | None = None
        self._found: dict[str, str] = {}
        self._failed: dict[str, KeyjanitorError] = {}  # asked once a run: it takes calls, and waits

    def plan_for(self, tier: Tier) -> str:
        """The id of the plan with the tier's stages and limits.

        One that the tier names, or that we made, or else a new one. Raises PlanRefused if API
        Gateway will not have it, and Contended if another run makes it right now.
        """
        if tier.name in self._failed:
            raise self._failed[tier.name]
        if tier.name not in self._found:
            try:
                self._found[tier.name] = self._find(tier) or self._make(tier)
            except KeyjanitorError as err:
                self._failed[tier.name] = err
                raise
        return self._found[tier.name]

    def there_is(self, usage_plan_ids: tuple[str, ...]) -> bool:
        """True if the account has all of these plans."""
        listed = {plan.usage_plan_id for plan in self._plans()}
        return listed.issuperset(usage_plan_ids)

    def forget(self) -> None:
        """Lists the plans again on the next call: one of them may be deleted."""
        self._listed = None
        self._found.clear()
        self._failed.clear()

    def _plans(self) -> list[UsagePlan]:
        if self._listed is None:
            listed = self._gateway.usage_plans()
            # An empty answer is no proof that the plans we made are gone; it would make another each time.
            if not listed and (made := len(self._register.made_usage_plans())):
                raise EmptyListing("usage plans", made)
            self._listed = listed
        return self._listed

    def _find(self, tier: Tier) -> str | None:
        shape, ours = Shape.of(tier), plan_name(tier)
        fitting = [plan for plan in self._plans() if plan.shape == shape]
        named = [
            plan.usage_plan_id
            for plan in fitting
            if plan.usage_plan_id in tier.usage_plans or plan.name in tier.usage_plans
        ]
        if named:
            return min(named)
        made = [plan.usage_plan_id for plan in fitting if plan.name == ours]
        remembered = self._register.made_usage_plans().get(ours)
        return remembered if remembered in made else min(made, default=None)

    def _make(self, tier: Tier) -> str:
        name = plan_name(tier)
        for _ in range(MAX_CLAIM_ATTEMPTS):
            if self._register.claim_usage_plan(name, self._holder, self._clock(), self._until):
                break
            self._pause(1)
            if made := self._register.made_usage_plans().get(name):
                return made
        else:
            raise Contended(f"the usage plan of tier {tier.name}")
        # A run that died may have made it and not have said so.
        self._listed = None
        try:
            plan_id = self._find(tier) or self._create(tier, name)
        except KeyjanitorError:
            self._register.release_usage_plan(name)  # the next run looks for it first
            raise
        self._register.put_usage_plan(name, plan_id)
        return plan_id

    def _create(self, tier: Tier, name: str) -> str:
        try:
            plan_id = self._gateway.create_plan(name, Shape.of(tier))
        except CallFailed as err:
            match err.code:
                case "LimitExceededException":
                    reason = "the account has no room for another usage plan, or method throttle"
                case "BadRequestException" | "NotFoundException" | "ParamValidationError":
                    stages = ", ".join(tier.stages)
                    reason = f"API Gateway refuses a usage plan for {stages} ({err.code})"
                case _:
                    raise
            raise PlanRefused(tier.name, err.code, reason) from None
        self._listed = [*self._plans(), UsagePlan.of_shape(plan_id, name, Shape.of(tier))]
        logger.info("made usage plan %s, %r, for the new keys of tier %s", plan_id, name, tier.name)
        return plan_id
