r"""A KL that buys nothing: a board shows it beside others, where it could be read as the use of z.

What it catches: a run whose decoder gains less than half of its KL from having the right code. The gain is
`delta_shuffle`, the loss of the decoder with the code of another example. For the best posterior of a decoder, it is on
average no less than the mutual information I: with the mixture of all posteriors in place of its own, an example loses
the gain and saves \(KL(q_i\|p) - KL(\bar q\|p)\), which is I on average, and it cannot be better off. And \(KL = I +
KL(\bar q\|p)\), where the second term is small if codes of examples look like codes of the prior. So a floor under
the KL, a fixed KL, and a loss that trains a column of the board can be told from the use of z. The likelihood of such a
run is a bound like any other. The guard cannot see a run without the metric `latent-use`, and it says nothing below 0.1
nats.
"""

from __future__ import annotations

from collections.abc import Sequence

from collapsebench.record import Finding, Guard, Value

LEAST = 0.1
"""The KL in nats below which a posterior counts as collapsed, so that there is nothing to use."""

SHARE = 0.5
"""The share of the KL that the gain has to reach. The smallest one in the stored boards of this repository is 0.78."""

STANDARD_ERRORS = 5
"""The gain may be so many standard errors higher than it was measured."""


def unused_rate(values: Sequence[Value]) -> tuple[Finding, ...]:
    """Return a finding if the decoder gains less than half of the KL from the codes, within five standard errors."""
    found = {value.column: value for value in values}
    rate, gain = found.get("kl"), found.get("delta_shuffle")
    if rate is None or gain is None:
        return ()
    kl, most = float(rate.estimate), float(gain.estimate) + STANDARD_ERRORS * float(gain.standard_error or 0)
    if not (kl >= LEAST and most < SHARE * kl):
        return ()
    text = f"rate without use: of a KL of {kl:.3g} nats the decoder gains {float(gain.estimate):.3g}"
    return (Finding(guard=Guard.USE, text=text),)
