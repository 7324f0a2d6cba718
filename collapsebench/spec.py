"""The values that decide a run, frozen and with stable identities. No torch, so that bad input fails before it loads.

Device, workers and folders are no part of them: the same spec on another machine is the same run.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Callable
from enum import StrEnum
from typing import Annotated, Any, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeFloat,
    PositiveFloat,
    PositiveInt,
    SerializerFunctionWrapHandler,
    field_serializer,
    field_validator,
    model_serializer,
    model_validator,
)

from collapsebench.errors import UsageError, unknown
from collapsebench.syntax import BASELINE, RATE, Call, parse_composition, print_call, print_contender

IDENTITY_VERSION = 1
"""The version of the rule for identities. Raise it when the same spec would hash otherwise: old ids stay distinct."""

PROTOCOL_VERSION = "1.1"
"""Results of one Major.Minor are comparable. Raise it when the harness changes the meaning of a number."""


FILE_TRACK = "file"
"""The track of every protocol whose track stands in a file of a user: the content decides, and not the name."""


class Frozen(BaseModel):
    """A validated value. It is immutable, and unknown fields are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="strings")


def identity(value: BaseModel) -> str:
    """Give the first 64 bits of SHA-256 over sorted JSON of a validated value, as 16 hexadecimal digits."""
    return hashlib.sha256(_identity_text(value).encode()).hexdigest()[:16]


def _identity_text(value: BaseModel) -> str:
    content = {"identity": IDENTITY_VERSION, "value": value.model_dump(mode="json")}
    return json.dumps(content, sort_keys=True, separators=(",", ":"))


class Unit(StrEnum):
    """The unit of a budget.

    >>> from collapsebench import Unit
    >>> [unit.value for unit in Unit]
    ['steps', 'epochs', 'examples', 'seconds', 'flops']
    """

    STEPS = "steps"
    EPOCHS = "epochs"
    EXAMPLES = "examples"
    SECONDS = "seconds"
    FLOPS = "flops"


class Budget(Frozen):
    """An amount of work that the harness counts, written `350steps`, `5epochs`, `90seconds` or `5e13flops`.

    >>> from collapsebench import Budget
    >>> Budget.parse("350steps").amount, str(Budget.parse("5e13 flops"))
    (350.0, '5e13flops')
    """

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
        if math.isinf(amount):
            raise UsageError(f"budget '{text}' must be finite")
        if amount <= 0:
            raise UsageError(f"budget '{text}' must be greater than zero")
        return {"amount": amount, "unit": found[2]}

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `350steps`. Raises UsageError if it does not parse, is not finite or not greater than zero."""
        return cls.model_validate(cls._fields(text))

    def __str__(self) -> str:
        plain = f"{self.amount:.12g}"
        scientific = re.sub(r"\.?0*e\+?0*", "e", f"{self.amount:.11e}")
        return (plain if plain.isdecimal() and len(plain) <= 6 else min(plain, scientific, key=len)) + self.unit


class Choice(Frozen):
    """A component by name, with its parameters: those that are passed while planning, and all once it is resolved.

    >>> from collapsebench import Choice
    >>> Choice.model_validate({"name": "lstm", "hidden": 128}).params
    {'hidden': 128}
    """

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
    """One method of a contender. `passed` has the parameters that differ from their defaults, for printing.

    >>> from collapsebench import MethodChoice
    >>> MethodChoice(name="sa-vae", params={"steps": 20}, passed={"steps": 20}).name
    'sa-vae'
    """

    passed: dict[str, Any] = Field(default_factory=dict, exclude=True)


class Contender(Frozen):
    """A composition of methods in the order in which they are written. The baseline `vae` has none.

    `rate` is a factor of the track's learning rate. At 1 it is no part of the identity, nor of the label.

    >>> from collapsebench import Contender, MethodChoice
    >>> refined = MethodChoice(name="sa-vae", params={"steps": 20}, passed={"steps": 20})
    >>> Contender.of((MethodChoice(name="skip"), refined)).label
    'skip+sa-vae[steps=20]'
    >>> Contender.of((), rate=0.5).label
    'vae@rate=0.5'
    """

    methods: tuple[MethodChoice, ...] = ()
    rate: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1.0
    label: str = Field(default=BASELINE, exclude=True)

    @model_serializer(mode="wrap")
    def _brief(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out a rate of 1: contenders without it have the identities that they always had."""
        content: dict[str, Any] = dump(self)
        return {key: value for key, value in content.items() if key != RATE or value != 1}

    @classmethod
    def of(cls, methods: tuple[MethodChoice, ...], rate: float = 1.0) -> Self:
        """Make the contender with its canonical label, in which only parameters stand that differ from the default."""
        calls = [Call(method.name, method.passed) for method in methods]
        return cls(methods=methods, rate=rate, label=print_contender(calls, rate))


class Decay(Frozen):
    """Decay of the learning rate on a plateau of the validation bound, at evaluations.

    From the first evaluation at or after epoch `after` that does not improve, the rate is multiplied by `factor`: at
    every evaluation from then on if `latched` (the released skip-vae code), else at each one that does not improve.
    Training ends when the rate falls below `stop_below`.

    >>> from collapsebench import Decay
    >>> Decay().factor
    0.5
    """

    factor: Annotated[float, Field(gt=0, lt=1)] = 0.5
    after: NonNegativeFloat = 15
    latched: bool = True
    stop_below: NonNegativeFloat = 0.03


class Optimizer(Frozen):
    """The rule by which parameters are updated: `sgd` or `adam`, its learning rate, and the clip of the gradient norm.

    >>> from collapsebench import Optimizer
    >>> Optimizer(name="adam", learning_rate=1e-3).clip
    5.0
    """

    name: Annotated[str, Field(pattern="^(sgd|adam)$")]
    learning_rate: PositiveFloat
    clip: PositiveFloat = 5.0
    decay: Decay | None = None

    def scaled(self, factor: float) -> Self:
        """Return the same rule at another learning rate. Its decay ends after as many steps down.

        >>> from collapsebench import Decay, Optimizer
        >>> scaled = Optimizer(name="sgd", learning_rate=1, decay=Decay(stop_below=0.03)).scaled(2)
        >>> scaled.learning_rate, scaled.decay.stop_below
        (2.0, 0.06)
        """
        decay = self.decay and self.decay.model_copy(update={"stop_below": self.decay.stop_below * factor})
        return self.model_copy(update={"learning_rate": self.learning_rate * factor, "decay": decay})


class Criterion(StrEnum):
    """The kinds of rules that choose between trials.

    >>> from collapsebench import Criterion
    >>> [criterion.value for criterion in Criterion]
    ['elbo', 'cured', 'iso-kl']
    """

    ELBO = "elbo"
    """The lowest -ELBO."""
    CURED = "cured"
    """The lowest -ELBO of those whose mutual information is at least so many nats."""
    ISO_KL = "iso-kl"
    """The KL that is nearest to so many nats."""


class Rule(Frozen):
    """A rule that chooses between trials, by numbers of the validation split alone: `elbo` or `cured[nats=1]`.

    >>> from collapsebench import Rule
    >>> rule = Rule.model_validate("cured[nats=1]")
    >>> rule.name.value, rule.nats, str(rule)
    ('cured', 1.0, 'cured[nats=1.0]')
    """

    name: Criterion
    nats: Annotated[float, Field(ge=0, allow_inf_nan=False, strict=True)] | None = None
    """The least mutual information, or the KL. The rule elbo has none."""

    @model_validator(mode="before")
    @classmethod
    def _read(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        calls = parse_composition(value)
        if len(calls) > 1:
            raise ValueError(f"write one rule, as in cured[nats=1], got '{value}'")
        return {"name": calls[0].name, **calls[0].params}

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if (self.nats is None) != (self.name is Criterion.ELBO):
            wanted = "has no nats" if self.name is Criterion.ELBO else f"needs nats: write {self.name}[nats=2]"
            raise ValueError(f"rule '{self.name}' {wanted}")
        return self

    def __str__(self) -> str:
        return print_call(self.name, {} if self.nats is None else {"nats": self.nats})


class Evaluation(Frozen):
    """The schedule of the validation split, and the metrics of the test split with their settings.

    Trials of a tuning have rules of selection in place of metrics, so that nobody sees the test split.

    >>> from collapsebench import Evaluation
    >>> Evaluation.model_validate({"every": "5epochs", "metrics": {"iw-nll": {"samples": 100}}}).metrics[0].name
    'iw-nll'
    """

    every: Budget
    metrics: tuple[Choice, ...] = ()
    selection: tuple[Rule, ...] = ()
    """The rules by which trials are chosen; empty for other runs."""

    @field_validator("selection")
    @classmethod
    def _in_order(cls, selection: tuple[Rule, ...]) -> tuple[Rule, ...]:
        """The order in which rules are written means nothing, nor does one that is written twice."""
        kinds = list(Criterion)
        return tuple(sorted(set(selection), key=lambda rule: (kinds.index(rule.name), rule.nats or 0)))

    @model_serializer(mode="wrap")
    def _brief(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out the rules if there are none: protocols without them have the identities that they always had."""
        content: dict[str, Any] = dump(self)
        return {key: value for key, value in content.items() if key != "selection" or value}

    @model_validator(mode="before")
    @classmethod
    def _of_trials(cls, value: Any) -> Any:
        """Trials have no metrics, whatever their track has."""
        trials = isinstance(value, dict) and value.get("selection")
        return {key: own for key, own in value.items() if key != "metrics"} if trials else value

    @field_validator("metrics", mode="before")
    @classmethod
    def _from_table(cls, value: Any) -> Any:
        """The metrics are a table in TOML: `iw-nll = {samples = 100}`."""
        if isinstance(value, dict):
            return [{"name": name, "params": params} for name, params in value.items()]
        if isinstance(value, str):
            raise ValueError(f"write a list, as in [{value}]")  # noqa: TRY004 - pydantic tells ValueErrors
        return value or ()


class Setting(Frozen):
    """All that a track fixes beside its data and budget: architecture, optimizer, evaluation. Never a method.

    >>> from collapsebench import Setting
    >>> setting = Setting.model_validate(
    ...     {
    ...         "latent_dim": 5,
    ...         "batch_size": 20,
    ...         "encoder": "linear",
    ...         "decoder": {"name": "linear", "learn_variance": True},
    ...         "optimizer": {"name": "adam", "learning_rate": 0.01},
    ...         "evaluation": {"every": "10steps"},
    ...     }
    ... )
    >>> setting.decoder.params, setting.posterior.name
    ({'learn_variance': True}, 'gaussian')
    """

    latent_dim: PositiveInt
    encoder: Choice
    decoder: Choice
    posterior: Choice = Choice(name="gaussian")
    initialization: Choice = Choice(name="torch")
    optimizer: Optimizer
    batch_size: PositiveInt
    """The number of examples in a batch, of training and of evaluation: SVI steps follow the batch mean."""
    evaluation: Evaluation


class Track(Frozen):
    """A named, complete setting of one dataset. Tracks stand in `registry/datasets/`."""

    description: str
    budget: Budget
    data: dict[str, Any] = Field(default_factory=dict)
    setting: Setting

    @model_validator(mode="before")
    @classmethod
    def _flat(cls, value: Any) -> Any:
        """The tables of the setting stand directly under the track in TOML."""
        if not isinstance(value, dict) or "setting" in value:
            return value
        own = {key: value[key] for key in ("description", "budget", "data") if key in value}
        return own | {"setting": {k: v for k, v in value.items() if k not in own}}


class Protocol(Frozen):
    """All that two runs must share to stand in one leaderboard.

    >>> import collapsebench
    >>> (run,) = collapsebench.run(dataset="linear-gaussian", budget="2steps", store="f.sqlite", progress=False)
    >>> protocol = run.record.spec.protocol
    >>> protocol.dataset.name, protocol.track_label, len(protocol.protocol_id)
    ('linear-gaussian', 'quick', 16)
    """

    version: str = PROTOCOL_VERSION
    dataset: Choice
    splits: dict[str, str]
    track: str
    setting: Setting
    budget: Budget
    overrides: dict[str, Any] = Field(default_factory=dict, exclude=True)
    file_name: str = Field(default="", exclude=True)
    """The name of a track that stands in a file of a user, without `.toml`; empty for a track of the dataset."""

    @field_validator("splits")
    @classmethod
    def _complete(cls, splits: dict[str, str]) -> dict[str, str]:
        if set(splits) != {"train", "valid", "test"}:
            raise ValueError(f"a protocol hashes train, valid and test, got {sorted(splits)}")
        return splits

    @field_validator("version")
    @classmethod
    def _numbered(cls, version: str) -> str:
        if re.fullmatch(r"[0-9]{1,4}\.[0-9]{1,4}", version) is None:
            raise ValueError("a version is two numbers, as in 1.1")
        return version

    @property
    def version_numbers(self) -> tuple[int, ...]:
        """The numbers of the version: those of a newer one are larger."""
        return tuple(map(int, self.version.split(".")))

    @property
    def protocol_id(self) -> str:
        """The identity that every run of one leaderboard shares."""
        return identity(self)

    @property
    def of_trials(self) -> bool:
        """True if its runs are trials, of which rules of selection choose without a look at the test split."""
        return bool(self.setting.evaluation.selection)

    @property
    def training_id(self) -> str:
        """The identity of what is trained: that of the protocol, whatever is measured or chosen in the end.

        A protocol and that of its trials share it.
        """
        evaluation = self.setting.evaluation.model_copy(update={"metrics": (), "selection": ()})
        return identity(self.model_copy(update={"setting": self.setting.model_copy(update={"evaluation": evaluation})}))

    @property
    def track_label(self) -> str:
        """The track with the values that were overridden, such as `quick[decoder.layers=3]`."""
        return print_call(self.file_name or self.track, self.overrides)

    @property
    def track_source(self) -> str:
        """The track as `--track` takes it: its name, or the name of its file."""
        return f"{self.file_name}.toml" if self.file_name else self.track


class RunSpec(Frozen):
    """One contender, one protocol, one seed.

    >>> import collapsebench
    >>> (run,) = collapsebench.run(dataset="linear-gaussian", budget="2steps", store="g.sqlite", progress=False)
    >>> spec = run.record.spec
    >>> spec.seed, spec.run_id == run.run_id
    (1, True)
    """

    contender: Contender
    protocol: Protocol
    seed: Annotated[int, Field(ge=0, lt=2**63)]

    @field_serializer("seed")
    def _exact(self, seed: int) -> str:
        """JSON readers round integers above 2^53. Text is exact."""
        return str(seed)

    @property
    def run_id(self) -> str:
        """The identity of the run: equal for equal validated specs, whatever wrote them."""
        return identity(self)


def run_ids(spec: RunSpec) -> Callable[[int], str]:
    """Return the function that gives the run id of this contender and protocol for any seed.

    The seed stands last in what is hashed. So a seed takes a microsecond, and `RunSpec.run_id` a hundred.
    """
    end = f'{spec.seed}"}}}}'
    before = hashlib.sha256(_identity_text(spec).removesuffix(end).encode())

    def run_id(seed: int) -> str:
        hashed = before.copy()
        hashed.update(f'{seed}"}}}}'.encode())
        return hashed.hexdigest()[:16]

    return run_id
