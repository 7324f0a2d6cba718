"""Two samples of z for each example of a training step. The meter counts the second pass of the decoder, too."""

from typing import ClassVar

from collapsebench import Inference, Method, hookimpl


class TwoSampleInference(Inference):
    """The encoder's posterior, trained with the mean of two objectives."""

    name: ClassVar[str] = "two-sample"

    def posterior(self, vae, x, noise):
        return vae.encode(x)

    def gradients(self, vae, x, objective):
        posterior = vae.encode(x)
        first = objective(vae, x, posterior)
        second = objective(vae, x, posterior, objective.noise.child("second"))
        both = first._replace(loss=(first.loss + second.loss) / 2)
        return both.backward()


class TwoSamples(Method):
    """Two samples of z for each example in training."""

    name: ClassVar[str] = "two-samples"

    @hookimpl
    def inference(self):
        return TwoSampleInference()


@hookimpl
def collapsebench_components():
    return [TwoSamples, TwoSampleInference]
