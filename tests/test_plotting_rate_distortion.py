"""The rate-distortion plane."""

from __future__ import annotations

import pytest
from records import record, score_records

from collapsebench.estimates import Direction, Estimate
from collapsebench.record import Outcome, Value
from collapsebench.reporting.plotting.rate_distortion import draw, places


def run(label, seed, rate, distortion, **more):
    shown = {"kl": ("kl", rate), "reconstruction": ("neg-elbo", distortion)}
    values = [
        Value.of(metric, column, Estimate(value), unit="nats", title=column, direction=Direction.NONE, board=True)
        for column, (metric, value) in shown.items()
        if value is not None
    ]
    return record(label, seed, values=tuple(values), **more)


def test_contenders_with_both_numbers_for_every_seed():
    board = score_records(
        [
            run("skip", 1, 4.0, 80.0),
            run("skip", 2, 6.0, 78.0),
            run("vae", 1, 1.0, 84.0),
            run("vae", 2, 2.0, 83.0),
            run("a", 1, 1.0, None),
            run("b", 1, 1.0, 9.0),
            run("b", 2, 1.0, 9.0, outcome=Outcome.DIVERGED),
        ]
    )
    vae, skip = places(board)
    assert (vae.label, skip.label) == ("vae", "skip")
    assert (skip.rate.mean, skip.distortion.mean) == (5.0, 79.0)
    assert skip.rate.seeds.keys() == skip.distortion.seeds.keys() == {1, 2}


def test_the_figure_shows_means_and_lines_of_equal_bounds():
    board = score_records(run("vae", seed, rate, 90 - 2 * rate) for seed, rate in enumerate((4.0, 6.0, 9.0), 1))
    drawn = places(board)
    figure = draw(drawn, "digits")
    (axes,) = figure.axes
    assert axes.get_xlabel() == "rate: KL [nats]"
    assert axes.get_ylabel() == "distortion: reconstruction [nats]"
    mean = axes.get_lines()[0]
    assert [*mean.get_xdata(), *mean.get_ydata()] == [drawn[0].rate.mean, drawn[0].distortion.mean]
    slanted = [line for line in axes.get_lines() if getattr(line, "get_slope", lambda: None)() == -1]
    bounds = {round(sum(line.get_xy1()), 6) for line in slanted}
    assert len(bounds) >= 3
    for text in axes.texts:
        assert float(text.get_text()) == pytest.approx(sum(text.xy))  # a label lies on its line
        assert float(text.get_text()) in bounds
