"""A price on the largest KL of a batch in place of the KL of every example."""

from typing import ClassVar

from pydantic import Field, PositiveFloat

from collapsebench import Method, hookimpl


class SoftMaximum(Method):
    """The KL of the batch is its soft maximum: T log mean exp(KL/T). For a large T it is the mean, as in the ELBO."""

    name: ClassVar[str] = "soft-maximum"
    temperature: PositiveFloat = Field(10.0, description="T, in nats")

    @hookimpl
    def kl_penalty(self, sample):
        import math

        kl = sample.kl.sum(-1) / self.temperature  # (B,)
        return self.temperature * (kl.logsumexp(0) - math.log(len(kl)))  # a scalar, nats per example


@hookimpl
def collapsebench_components():
    return [SoftMaximum]
