"""The metric my-metric."""

from typing import ClassVar

from collapsebench import Column, Declined, Direction, Estimate, Metric, hookimpl


class MyMetric(Metric):
    r"""The mean squared length of the codes: say here in one line what your metric measures.

    Formula: \(\frac1N \sum_i |\mu_i|^2\), where \(\mu_i\) is the mean of the posterior of example i.
    Unit: none. Direction: none.
    """

    name: ClassVar[str] = "my-metric"
    columns: ClassVar[tuple[Column, ...]] = (Column("my_metric", "", Direction.NONE, "|μ|²"),)

    def evaluate(self, split):
        """Give a number for each column, or the reason why there is none."""
        if not split.vae.latent_dim:
            return {"my_metric": Declined("no latent units")}
        squares = split.posterior.mean.square().sum(-1)  # (N, D) -> (N,)
        return {"my_metric": Estimate(float(squares.mean()), float(squares.std() / len(squares) ** 0.5))}


@hookimpl
def collapsebench_components():
    """Name what this plugin adds."""
    return [MyMetric]
