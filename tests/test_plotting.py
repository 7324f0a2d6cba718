"""What is drawn: means over seeds with their intervals, at the places where all seeds are."""

from __future__ import annotations

import sys

import pytest
from records import record
from scipy import stats

from collapsebench.observation import Observation
from collapsebench.record import Number, Outcome, Point
from collapsebench.reporting.plotting import canvas, trajectories
from collapsebench.reporting.plotting.canvas import COLOURS, MARKERS, figure_bytes, looks, panels
from collapsebench.reporting.plotting.trajectories import draw


def points(values, step=10.0, **more):
    return tuple(
        Point(counters={"steps": step * n, **more}, values={"neg_elbo": Number.of(value), "kl": Number.of(0.5)})
        for n, value in enumerate(values, 1)
    )


def lines(records, counter, quantity):
    return trajectories.lines(map(Observation.of, records), counter, quantity)


def test_a_line_is_the_mean_over_seeds_with_its_interval():
    seeds = {1: [9.0, 8.0, 7.0], 2: [11.0, 8.5, 5.0], 3: [10.0, 9.0, 9.0]}
    (line,) = lines([record("skip", seed, points=points(v)) for seed, v in seeds.items()], "steps", "neg_elbo")
    assert (line.label, line.seeds, line.x) == ("skip", (1, 2, 3), (10, 20, 30))
    for place, values in enumerate(zip(*seeds.values(), strict=True)):
        low, high = stats.t.interval(0.95, 2, loc=sum(values) / 3, scale=stats.sem(values))
        assert line.mean[place] == pytest.approx(sum(values) / 3)
        assert line.mean[place] - line.half_width[place] == pytest.approx(low)
        assert line.mean[place] + line.half_width[place] == pytest.approx(high)


def test_one_seed_has_no_band():
    (line,) = lines([record("vae", points=points([3.0, 2.0]))], "steps", "neg_elbo")
    assert (line.mean, line.half_width) == ((3.0, 2.0), (0.0, 0.0))


def test_seeds_that_were_evaluated_elsewhere_are_interpolated_where_both_are():
    first = record("vae", 1, points=points([9.0, 7.0, 5.0]))  # at 10, 20, 30
    other = record("vae", 2, points=points([6.0, 4.0], step=15.0))  # at 15, 30
    (line,) = lines([first, other], "steps", "neg_elbo")
    assert line.x == (15, 20, 30)
    assert line.mean == pytest.approx([(8 + 6) / 2, (7 + 16 / 3) / 2, (5 + 4) / 2])


def test_the_baseline_comes_first_and_unfinished_runs_are_left_out():
    runs = [
        record("skip", 1, points=points([5.0])),
        record("vae", 1, points=points([6.0])),
        record("a", 1, points=points([1.0]), outcome=Outcome.DIVERGED),
    ]
    assert [line.label for line in lines(runs, "steps", "kl")] == ["vae", "skip"]


def test_runs_without_the_counter_are_left_out():
    old, new = record("vae", 1, points=points([6.0])), record("vae", 2, points=points([5.0], flops=1e9))
    (line,) = lines([old, new], "flops", "neg_elbo")
    assert (line.seeds, line.x, line.mean) == ((2,), (1e9,), (5.0,))
    assert lines([old], "flops", "neg_elbo") == []


def test_the_figure_shows_the_lines_with_units_and_legend():
    runs = [record(label, seed, points=points([9.0, 7.0 + seed])) for label in ("vae", "skip") for seed in (1, 2)]
    drawn = {quantity: lines(runs, "steps", quantity) for quantity in ("neg_elbo", "kl")}
    figure = draw(drawn, "steps", "digits · quick")
    assert figure.get_suptitle() == "digits · quick"
    axes, other = figure.axes
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("steps", "valid −ELBO [nats]")
    assert other.get_ylabel() == "valid KL [nats]"
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["vae (n = 2)", "skip (n = 2)"]
    for line, shown, same in zip(drawn["neg_elbo"], axes.get_lines(), other.get_lines(), strict=True):
        assert shown.get_xdata().tolist() == list(line.x)
        assert shown.get_ydata().tolist() == list(line.mean)
        assert shown.get_color() == same.get_color()
    assert len(axes.collections) == 2
    low, high = axes.get_ylim()
    assert 8.5 - drawn["neg_elbo"][0].half_width[1] < low < 8.5  # the interval of two seeds does not set the scale
    assert 9 < high < 10


@pytest.mark.parametrize(
    ("counter", "label"), [("seconds", "seconds [s]"), ("decoder_evaluations", "decoder evaluations")]
)
def test_units_of_counters(counter, label):
    runs = [record("vae", points=points([9.0], **{counter: 2.0}))]
    (axes,) = draw({"kl": lines(runs, counter, "kl")}, counter, "").axes
    assert axes.get_xlabel() == label


def test_drawing_leaves_the_state_of_pyplot_alone():
    draw({"kl": lines([record("vae", points=points([9.0]))], "steps", "kl")}, "steps", "")
    assert "matplotlib.pyplot" not in sys.modules


def test_contenders_are_told_apart_by_colour_and_marker():
    labels = [str(number) for number in range(len(COLOURS) * len(MARKERS))]
    assert len(set(looks(labels).values())) == len(labels)
    assert list(looks(["vae", "skip", "vae"])) == ["vae", "skip"]


@pytest.mark.slow
@pytest.mark.parametrize("number", range(1, 11))
def test_every_panel_has_the_same_size_and_the_legend_covers_none(number):
    figure, axes = panels(number, "title")
    for each in axes:
        (line,) = each.plot([1, 2], [1, 2])
    canvas.legend(figure, {f"contender {place}": line for place in range(5)}, "how it was made")
    figure_bytes(figure, "png")
    sizes = {(round(each.get_position().width, 3), round(each.get_position().height, 3)) for each in axes}
    assert len(sizes) == 1
    (legend,) = figure.legends
    assert not any(legend.get_window_extent().overlaps(each.get_window_extent()) for each in axes)


@pytest.mark.parametrize("format_", canvas.METADATA)
def test_equal_figures_are_equal_bytes_on_any_day(format_, monkeypatch):
    runs = [record("vae", points=points([9.0, 7.0]))]
    files = []
    for epoch in ("1", "1000000000"):
        monkeypatch.setenv("SOURCE_DATE_EPOCH", epoch)
        files.append(figure_bytes(draw({"kl": lines(runs, "steps", "kl")}, "steps", "t"), format_))
    assert files[0] == files[1]
