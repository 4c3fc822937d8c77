"""Which variant a request gets: a pure function of the flag's definition and the request's context.

A context is a mapping as OpenFeature sends it: `targetingKey` is what sticks to a variant (a user, a session), `tenant`
and `region` are what audiences look at, everything else is ignored.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar

from tools.errors import InvalidInput
from tools.flags.base import FlagRef, FlagState
from tools.plans.model import Audience, Exposure, Mode

BUCKETS = 100_000
"""One bucket is 0.001 %, the finest step of an exposure."""

TARGETING_KEY = "targetingKey"
TENANT = "tenant"
REGION = "region"


class Reason(StrEnum):
    """Why a variant was chosen, in OpenFeature's words."""

    STATIC = "STATIC"  # everyone gets the same variant
    TARGETING_MATCH = "TARGETING_MATCH"  # the whole audience gets treatment, and the request belongs to it
    SPLIT = "SPLIT"  # the request's bucket decided
    DEFAULT = "DEFAULT"  # the request is outside the audience: control


class EvaluationFailed(InvalidInput):
    """The context can't be evaluated. `code` is OpenFeature's error code."""

    code: ClassVar[str] = "GENERAL"


class TargetingKeyMissing(EvaluationFailed):
    """The bucket decides, and the context has nothing to put into a bucket."""

    code = "TARGETING_KEY_MISSING"


class InvalidContext(EvaluationFailed):
    """The context is not shaped as OpenFeature says."""

    code = "INVALID_CONTEXT"


@dataclass(frozen=True, slots=True)
class FlagDefinition:
    """Everything that evaluating a flag in one environment needs. `salt` never changes: it is what keeps buckets."""

    key: str
    environment: str
    control: str
    treatment: str
    salt: str
    exposure: Exposure
    version: str
    description: str = ""

    @property
    def state(self) -> FlagState:
        """The definition as the port shows it."""
        ref = FlagRef(self.key, self.environment)
        return FlagState(ref, self.exposure, self.version, self.control, self.treatment, self.description)


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The variant to serve. `shadow` names a second variant to run beside it, whose answer no user gets."""

    variant: str
    reason: Reason
    shadow: str | None = None


def evaluate(definition: FlagDefinition, context: Mapping[str, object]) -> Evaluation:
    """The variant for `context`: the same for the same definition and context, on every machine.

    Raising the percentage never moves a targeting key from treatment to control. In shadow mode everyone is served
    control, and those exposed get treatment's name as `shadow`. Raises TargetingKeyMissing and InvalidContext, only
    where a bucket is needed: 0 < percent < 100 and the context inside the audience.
    """
    exposed, reason = _exposed(definition, context)
    if not exposed:
        return Evaluation(definition.control, reason)
    if definition.exposure.mode is Mode.SHADOW:
        return Evaluation(definition.control, reason, shadow=definition.treatment)
    return Evaluation(definition.treatment, reason)


def _exposed(definition: FlagDefinition, context: Mapping[str, object]) -> tuple[bool, Reason]:
    exposure = definition.exposure
    if exposure.percent == 0:
        return False, Reason.STATIC
    everyone = exposure.audience.everyone
    if not everyone and not _belongs(exposure.audience, context):
        return False, Reason.DEFAULT
    if exposure.percent == 100:
        return True, Reason.STATIC if everyone else Reason.TARGETING_MATCH
    bucket = bucket_of(definition.salt, definition.key, _targeting_key(definition, context))
    return bucket < round(exposure.percent * BUCKETS / 100), Reason.SPLIT


def bucket_of(salt: str, flag: str, targeting_key: str) -> int:
    """The bucket, 0 to BUCKETS - 1, of a targeting key: uniform, and independent from flag to flag.

    The first 64 bits of SHA-256 over salt, flag and key, modulo BUCKETS; the bias of the modulo is below 1e-14.
    """
    # A JSON string may hold half a surrogate pair, which plain UTF-8 refuses.
    text = f"{salt}\0{flag}\0{targeting_key}".encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.sha256(text).digest()[:8], "big") % BUCKETS


def _belongs(audience: Audience, context: Mapping[str, object]) -> bool:
    return (not audience.tenants or context.get(TENANT) in audience.tenants) and (
        not audience.regions or context.get(REGION) in audience.regions
    )


def _targeting_key(definition: FlagDefinition, context: Mapping[str, object]) -> str:
    key = context.get(TARGETING_KEY)
    if key is None or key == "":
        raise TargetingKeyMissing(
            f"Flag {definition.key} is served to {definition.exposure}: send a {TARGETING_KEY} in the context."
        )
    if not isinstance(key, str):
        raise InvalidContext(f"The {TARGETING_KEY} must be a string, not {type(key).__name__}.")
    return key
