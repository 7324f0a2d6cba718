"""What decides a run: frozen values with stable identities. Pydantic only, so that bad input fails before torch loads.

Device, workers and folders are no part of it: the same spec on another machine is the same run.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from enum import StrEnum
from typing import Annotated, Any, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeFloat,
    PositiveFloat,
    PositiveInt,
    field_serializer,
    field_validator,
    model_validator,
)

from collapsebench.errors import UsageError, unknown
from collapsebench.syntax import BASELINE, Call, print_call, print_composition

IDENTITY_VERSION = 1
"""How identities are computed. Raise it when the same spec would hash otherwise; old ids then stay distinct."""

PROTOCOL_VERSION = "1.0"
"""Results of one Major.Minor are comparable; raise it when the harness changes what a number means."""


class Frozen(BaseModel):
    """A validated value: immutable, and unknown fields are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="strings")


def identity(value: BaseModel) -> str:
    """The first 64 bits of SHA-256 over sorted JSON of the validated value, as 16 hexadecimal digits."""
    content = {"identity": IDENTITY_VERSION, "value": value.model_dump(mode="json")}
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


class Unit(StrEnum):
    """What a budget is counted in."""

    STEPS = "steps"
    EPOCHS = "epochs"
    EXAMPLES = "examples"
    SECONDS = "seconds"
    FLOPS = "flops"


class Budget(Frozen):
    """An amount of work that the harness counts, written `350steps`, `5epochs`, `90seconds` or `5e13flops`."""

    amount: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    unit: Unit

    @model_validator(mode="before")
    @classmethod
    def _read(cls, value: Any) -> Any:
        return cls._fields(value) if isinstance(value, str) else value

    @staticmethod
    def _fields(text: str) -> dict[str, Any]:
        found = re.fullmatch(r"\s*([+-]?[\d.]+(?:e[+-]?\d+)?)\s*([a-z]+)\s*", text)
        if found is None:
            raise UsageError(f"cannot read budget '{text}': write an amount and a unit, as in 350steps or 2epochs")
        if found[2] not in list(Unit):
            raise UsageError(unknown("budget unit", found[2], Unit))
        try:
            amount = float(found[1])
        except ValueError:
            raise UsageError(f"cannot read budget '{text}': '{found[1]}' is not a number") from None
        if not 0 < amount < math.inf:
            raise UsageError(f"budget '{text}' must be greater than zero")
        return {"amount": amount, "unit": found[2]}

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `350steps`. Raises UsageError if it does not parse or is not greater than zero."""
        return cls.model_validate(cls._fields(text))

    def __str__(self) -> str:
        plain = f"{self.amount:.12g}"
        scientific = re.sub(r"\.?0*e\+?0*", "e", f"{self.amount:.11e}")
        return (plain if plain.isdecimal() and len(plain) <= 6 else min(plain, scientific, key=len)) + self.unit


class Choice(Frozen):
    """A component by name, with its parameters: as passed while planning, and complete once resolved."""

    name: str
    version: PositiveInt = 1
    params: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _flat(cls, value: Any) -> Any:
        """Tables of a track are flat: `{name = "lstm", hidden = 128}`."""
        if isinstance(value, str):
            return {"name": value}
        if isinstance(value, dict) and "params" not in value and "name" in value:
            return {"name": value["name"], "params": {k: v for k, v in value.items() if k != "name"}}
        return value


class MethodChoice(Choice):
    """One method of a contender; `passed` holds the parameters that differ from their defaults, for printing."""

    passed: dict[str, Any] = Field(default_factory=dict, exclude=True)


class Contender(Frozen):
    """A composition of methods, in the order written; empty for the baseline `vae`."""

    methods: tuple[MethodChoice, ...] = ()
    label: str = Field(default=BASELINE, exclude=True)

    @classmethod
    def of(cls, methods: tuple[MethodChoice, ...]) -> Self:
        """The contender with its canonical label: only parameters that differ from the default are written."""
        calls = [Call(method.name, method.passed) for method in methods]
        return cls(methods=methods, label=print_composition(calls) or BASELINE)


class Decay(Frozen):
    """Learning-rate decay on a plateau of the validation bound, at evaluations.

    From the first evaluation at or after epoch `after` that does not improve, the rate is multiplied by `factor`: at
    every evaluation from then on if `latched` (the released skip-vae code), else at each one that does not improve.
    Training ends when the rate falls below `stop_below`.
    """

    factor: Annotated[float, Field(gt=0, lt=1)] = 0.5
    after: NonNegativeFloat = 15
    latched: bool = True
    stop_below: NonNegativeFloat = 0.03


class Optimizer(Frozen):
    """How parameters are updated: `sgd` or `adam`, its learning rate, and the clip of the joint gradient norm."""

    name: Annotated[str, Field(pattern="^(sgd|adam)$")]
    learning_rate: PositiveFloat
    clip: PositiveFloat = 5.0
    decay: Decay | None = None


class Evaluation(Frozen):
    """When the validation split is looked at, and which metrics the test split gets, with their settings."""

    every: Budget
    metrics: tuple[Choice, ...] = ()

    @field_validator("metrics", mode="before")
    @classmethod
    def _from_table(cls, value: Any) -> Any:
        """In TOML the metrics are a table: `iw-nll = {samples = 100}`."""
        if isinstance(value, dict):
            return [{"name": name, "params": params} for name, params in value.items()]
        return value or ()


class Setting(Frozen):
    """Everything a track fixes but its data and budget: architecture, optimizer, evaluation. Never a method."""

    latent_dim: PositiveInt
    encoder: Choice
    decoder: Choice
    posterior: Choice = Choice(name="gaussian")
    initialization: Choice = Choice(name="torch")
    optimizer: Optimizer
    batch_size: PositiveInt
    """Of training and of evaluation, as SVI steps that follow the batch mean depend on it."""
    evaluation: Evaluation


class Track(Frozen):
    """A named, complete setting of one dataset, as it stands in `registry/datasets/`."""

    description: str
    budget: Budget
    data: dict[str, Any] = Field(default_factory=dict)
    setting: Setting

    @model_validator(mode="before")
    @classmethod
    def _flat(cls, value: Any) -> Any:
        """In TOML the setting's tables stand directly under the track."""
        if not isinstance(value, dict) or "setting" in value:
            return value
        own = {key: value[key] for key in ("description", "budget", "data") if key in value}
        return own | {"setting": {k: v for k, v in value.items() if k not in own}}


class Protocol(Frozen):
    """Everything two runs must share to stand in one leaderboard."""

    version: str = PROTOCOL_VERSION
    dataset: Choice
    splits: dict[str, str]
    track: str
    setting: Setting
    budget: Budget
    overrides: dict[str, Any] = Field(default_factory=dict, exclude=True)

    @field_validator("splits")
    @classmethod
    def _complete(cls, splits: dict[str, str]) -> dict[str, str]:
        if set(splits) != {"train", "valid", "test"}:
            raise ValueError(f"a protocol hashes train, valid and test, got {sorted(splits)}")
        return splits

    @property
    def protocol_id(self) -> str:
        """The identity that every run of one leaderboard shares."""
        return identity(self)

    @property
    def track_label(self) -> str:
        """The track with the values that were overridden, as in `quick[decoder.layers=3]`."""
        return print_call(self.track, self.overrides)


class RunSpec(Frozen):
    """One contender, one protocol, one seed."""

    contender: Contender
    protocol: Protocol
    seed: Annotated[int, Field(ge=0, lt=2**63)]

    @field_serializer("seed")
    def _exact(self, seed: int) -> str:
        """JSON readers round integers above 2^53; text is exact."""
        return str(seed)

    @property
    def run_id(self) -> str:
        """The identity of the run: equal for equal validated specs, whatever wrote them."""
        return identity(self)
