"""Numbers over one setting: what is drawn of them."""

from __future__ import annotations

import pytest
from records import SETTING, record, score_records

from collapsebench.record import Outcome
from collapsebench.reporting.families import PublishedPoint
from collapsebench.reporting.plotting.depth import draw, series


def board(layers, values):
    """The board of a protocol with one seed for each value of a contender's KL."""
    setting = {**SETTING, "decoder": {"name": "lstm", "layers": layers}}
    return score_records(
        record(label, seed, columns={"kl": value}, protocol={"setting": setting})
        for label, seeds in values.items()
        for seed, value in enumerate(seeds, 1)
    )


def test_samples_are_those_of_the_boards_with_the_printed_numbers():
    boards = {1: board(1, {"skip": [3.0, 5.0], "vae": [1.0, 2.0]}), 4: board(4, {"vae": [0.5, 0.5]})}
    printed = [
        PublishedPoint("skip", "kl", 1, 4.5),
        PublishedPoint("skip", "kl", 9, 4.0),
        PublishedPoint("skip", "mi_lower", 1, 7.0),
    ]
    vae, skip = series(boards, "kl", printed)
    assert (vae.label, skip.label) == ("vae", "skip")
    assert {place: sample.mean for place, sample in vae.measured.items()} == {1: 1.5, 4: 0.5}
    assert skip.measured[1].seeds == {1: 3.0, 2: 5.0}
    assert (vae.published, skip.published) == ({}, {1: 4.5, 9: 4.0})


def test_a_mean_over_survivors_is_not_drawn():
    runs = [record("vae", 1), record("vae", 2), record("skip", 1), record("skip", 2, outcome=Outcome.DIVERGED)]
    assert [each.label for each in series({1: score_records(runs)}, "kl")] == ["vae"]


def test_the_figure_shows_means_intervals_and_hollow_published_numbers():
    boards = {1: board(1, {"vae": [1.0, 2.0, 3.0]}), 4: board(4, {"vae": [0.5, 0.4, 0.6]})}
    drawn = series(boards, "kl", [PublishedPoint("vae", "kl", 1, 2.5), PublishedPoint("vae", "kl", 6, 0.1)])
    (column,) = [column for column in boards[1].columns if column.key == "kl"]
    figure = draw({column: drawn}, "decoder.layers", "a suite", "Hollow: published.")
    (axes,) = figure.axes
    assert figure.get_suptitle() == "a suite"
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("layers of the decoder", "KL [nats]")
    assert axes.get_xticks().tolist() == [1, 4, 6]
    own, published = axes.get_lines()[:2]
    assert (own.get_xdata().tolist(), own.get_ydata().tolist()) == ([1, 4], pytest.approx([2, 0.5]))
    assert (published.get_xdata().tolist(), published.get_ydata().tolist()) == ([1, 6], [2.5, 0.1])
    assert published.get_markerfacecolor() == "white" != own.get_markerfacecolor()
    assert published.get_color() == own.get_color()
    (bars,) = axes.collections
    for (low, high), sample in zip(bars.get_segments(), drawn[0].measured.values(), strict=True):
        assert high[1] - sample.mean == pytest.approx(sample.half_width)
        assert low[1] == pytest.approx(max(0.0, sample.mean - sample.half_width))  # no KL is negative
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["vae", "vae, published"]
    assert legend.get_title().get_text() == "mean over 3 seeds, 95 % interval. Hollow: published."


def test_another_setting_is_named_as_it_is_written():
    (column,) = [column for column in board(1, {"vae": [1.0]}).columns if column.key == "kl"]
    (axes,) = draw({column: series({2: board(1, {"vae": [1.0]})}, "kl")}, "latent_dim", "").axes
    assert axes.get_xlabel() == "latent_dim"


def test_series_stand_aside_so_that_equal_numbers_do_not_hide_each_other():
    values = {"vae": [1.0, 2.0, 3.0], "skip": [1.0, 2.0, 3.0], "sa-vae": [1.0, 2.0, 3.0]}
    boards = {1: board(1, values), 4: board(4, values)}
    (column,) = [column for column in boards[1].columns if column.key == "kl"]
    (axes,) = draw({column: series(boards, "kl")}, "decoder.layers", "").axes
    places = [line.get_xdata()[0] for line in axes.get_lines()[:3]]
    assert places == sorted(set(places))
    assert sum(places) / 3 == pytest.approx(1)
    assert places[-1] - places[0] < 1
    assert axes.get_xticks().tolist() == [1, 4]
