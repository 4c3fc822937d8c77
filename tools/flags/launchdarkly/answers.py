"""What LaunchDarkly's REST API answers of a flag (version 20240415), as far as it is read here."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class Answer(BaseModel):
    """Base of what is answered; what is not read here is kept out. Names are as LaunchDarkly writes them."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Variation(Answer):
    id: str = Field(alias="_id")
    value: Any
    name: str | None = None


class Weighted(Answer):
    """`weight` is in thousandths of a percent."""

    variation: int
    weight: int


class Rollout(Answer):
    variations: tuple[Weighted, ...]
    bucketBy: str | None = None  # noqa: N815
    contextKind: str | None = None  # noqa: N815
    seed: int | None = None
    kind: str | None = None
    experimentAllocation: dict[str, Any] | None = None  # noqa: N815

    @property
    def experiment(self) -> bool:
        """Whether an experiment deals its contexts."""
        return self.experimentAllocation is not None or self.kind == "experiment"


class Carrier(Answer):
    """What says what a context gets: one variation, or a rollout of several."""

    variation: int | None = None
    rollout: Rollout | None = None


class Clause(Answer):
    attribute: str
    op: str
    values: tuple[Any, ...]
    contextKind: str = "user"  # noqa: N815
    negate: bool = False


class Rule(Carrier):
    id: str | None = Field(default=None, alias="_id")
    clauses: tuple[Clause, ...]
    disabled: bool = False


class Target(Answer):
    values: tuple[str, ...]
    variation: int


class Prerequisite(Answer):
    key: str


class Environment(Answer):
    """A flag's configuration in one environment.

    Rules and targets have no default: lists leave them out unless they are asked for, which is not the same as none.
    """

    on: bool
    version: int
    archived: bool = False
    rules: tuple[Rule, ...]
    targets: tuple[Target, ...]
    contextTargets: tuple[Target, ...] = ()  # noqa: N815
    fallthrough: Carrier
    offVariation: int | None = None  # noqa: N815
    prerequisites: tuple[Prerequisite, ...] = ()


class Flag(Answer):
    key: str
    description: str | None = None
    archived: bool = False
    variations: tuple[Variation, ...]
    environments: dict[str, Environment] = {}
    purpose: str | None = Field(default=None, alias="_purpose")
