"""What is drawn: means over seeds with their intervals, at the places where all seeds are."""

from __future__ import annotations

import sys
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from records import record
from scipy import stats

from collapsebench.errors import UsageError
from collapsebench.observation import Observation
from collapsebench.record import Number, Outcome, Point
from collapsebench.reporting.colours import colours
from collapsebench.reporting.plotting import canvas, spectrum, trajectories
from collapsebench.reporting.plotting.canvas import FigureStyle, figure_bytes, panels
from collapsebench.reporting.plotting.spectrum import Spectrum
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
    assert [text.get_text() for text in legend.get_texts()] == ["vae", "skip"]
    said = "mean over 2 seeds, 95 % interval; intervals of two seeds go on beyond the edge"
    assert legend.get_title().get_text() == said
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


LABELS = ("vae", "no-latent", "skip", "sa-vae", "kl-annealing")


def seeded(label, seeds=3, spread=1.0, **more):
    """Runs of a contender that differ by `spread`."""
    return [record(label, seed, points=points([9.0, 7.0 + spread * seed], **more)) for seed in range(1, seeds + 1)]


def colours_of(figure):
    (legend,) = figure.legends
    handles = [handle.get_color() for handle in legend.legend_handles]
    return dict(zip([text.get_text() for text in legend.get_texts()], handles, strict=True))


def test_a_contender_has_one_colour_in_all_figures_and_parts_of_them():
    runs = [run for label in LABELS for run in seeded(label)]
    whole = colours_of(draw({"kl": lines(runs, "steps", "kl")}, "steps", ""))
    part = colours_of(draw({"kl": lines(runs[3:9], "steps", "kl")}, "steps", ""))
    spectra = [Spectrum(label, {1: [0.5, 0.1]}) for label in LABELS]
    variances = colours_of(spectrum.draw(spectra, None, ""))
    assert whole == variances == colours(LABELS)
    assert part == {label: whole[label] for label in part}


@settings(max_examples=20)
@given(st.lists(st.floats(0.01, 50), min_size=1, max_size=4))
def test_the_axis_contains_every_interval_of_three_seeds(spreads):
    runs = [run for label, spread in zip(LABELS, spreads, strict=False) for run in seeded(label, spread=spread)]
    drawn = lines(runs, "steps", "neg_elbo")
    (axes,) = draw({"neg_elbo": drawn}, "steps", "").axes
    low, high = axes.get_ylim()
    for line in drawn:
        for mean, width in zip(line.mean, line.half_width, strict=True):
            assert low < mean - width
            assert mean + width < high


def test_an_interval_ends_where_numbers_cannot_be():
    runs = seeded("vae", spread=50.0)
    (axes,) = draw({"kl": lines(runs, "steps", "neg_elbo")}, "steps", "").axes
    (band,) = axes.collections
    assert band.get_paths()[0].vertices[:, 1].min() == 0.0
    assert axes.get_ylim()[0] < 0.0


@pytest.mark.parametrize(("counter", "scale"), [("flops", "log"), ("steps", "linear"), ("seconds", "linear")])
def test_methods_differ_in_flops_by_factors(counter, scale):
    first, second = points([9.0], flops=1e9, seconds=2.0), points([7.0], flops=1e12, seconds=9.0)
    runs = [record("vae", points=(*first, *second))]
    figure = draw({column: lines(runs, counter, column) for column in ("kl", "neg_elbo")}, counter, "")
    assert [axes.get_xscale() for axes in figure.axes] == [scale] * 2


@pytest.mark.parametrize("start", [5e10, 2e11])
@pytest.mark.parametrize("times", [5, 12, 30, 60, 100, 1e4])
def test_the_numbers_of_a_narrow_axis_of_flops_do_not_touch(start, times):
    run = record("vae", points=(*points([9.0], flops=start), *points([7.0], flops=start * times)))
    by_column = {column: lines([run], "flops", column) for column in ("kl", "neg_elbo")}
    style = FigureStyle(title="", size=(3.3, 2.6))
    with style.settings():
        figure = draw(by_column, "flops", "", style)
        figure.draw_without_rendering()
        for axes in figure.axes:
            low, high = axes.get_xlim()
            ticks = [*axes.xaxis.get_major_ticks(), *axes.xaxis.get_minor_ticks()]
            shown = [tick.label1 for tick in ticks if low <= tick.get_loc() <= high and tick.label1.get_text()]
            boxes = sorted((box.x0, box.x1) for box in (label.get_window_extent() for label in shown))
            assert len(boxes) >= 2
            assert all(before[1] < after[0] for before, after in pairwise(boxes))


def test_one_amount_of_flops_is_drawn():
    (axes,) = draw({"kl": lines([record("vae", points=points([9.0], flops=1e9))], "flops", "kl")}, "flops", "").axes
    assert axes.get_lines()[0].get_xdata().tolist() == [1e9]


def test_lines_that_lie_upon_each_other_differ_in_dashes_or_marked_points():
    runs = [record(label, points=points([9.0] * 40)) for label in LABELS[:4]]
    (axes,) = draw({"kl": lines(runs, "steps", "kl")}, "steps", "").axes
    seen = [(line.get_linestyle(), line._unscaled_dash_pattern, line.get_markevery()) for line in axes.get_lines()]
    assert len(set(map(str, seen))) == 4
    assert all(step == 4 for _, _, (_, step) in seen)


def test_a_legend_of_many_contenders_stands_beside_panels_of_their_usual_size():
    runs = [run for number in range(30) for run in seeded(f"method-{number}[a=0.25]", seeds=1)]
    figure = draw({"kl": lines(runs, "steps", "kl")}, "steps", "a title")
    figure.draw_without_rendering()
    (legend,), (axes,) = figure.legends, figure.axes
    box, panel = legend.get_window_extent(), axes.get_window_extent()
    assert box.x0 > panel.x1
    assert box.y0 >= 0
    assert panel.width / figure.dpi > 5
    assert not figure._suptitle.get_window_extent().overlaps(box)


@pytest.mark.parametrize("size", [(3.3, 2.6), (6.0, 4.0), (7.0, 2.5)])
@pytest.mark.parametrize("number", [1, 2, 4])
def test_a_figure_of_fixed_size_has_it_and_leaves_half_to_its_panels(size, number):
    runs = [run for label in LABELS[:3] for run in seeded(label)]
    style = FigureStyle(title="", size=size)
    columns = ("neg_elbo", "kl", "mi_lower", "active_units")[:number]
    with style.settings():
        figure = draw({column: lines(runs, "steps", "kl") for column in columns}, "steps", "said", style)
        figure.draw_without_rendering()
    assert tuple(figure.get_size_inches()) == size
    assert figure.get_suptitle() == ""
    (legend,) = figure.legends
    assert legend.get_window_extent().height <= figure.bbox.height / 2
    assert all(axes.get_window_extent().height > figure.bbox.height / 8 for axes in figure.axes)


def test_letters_are_small_in_a_column_of_a_paper():
    sizes = []
    for size in (None, (3.3, 2.6)):
        style = FigureStyle(size=size)
        with style.settings():
            (axes,) = draw({"kl": lines(seeded("vae"), "steps", "kl")}, "steps", "", style).axes
            sizes.append(axes.xaxis.label.get_fontsize())
    assert sizes == [10, 7]


def test_a_legend_that_leaves_no_room_is_refused():
    runs = [run for number in range(30) for run in seeded(f"method-{number}", seeds=1)]
    style = FigureStyle(size=(3.3, 2.6))
    with pytest.raises(UsageError, match=r"the legend of 30 entries does not fit 3\.3 × 2\.6 inches: choose a larger"):
        draw({"kl": lines(runs, "steps", "kl")}, "steps", "", style)


def test_contenders_are_called_as_their_user_wants_and_keep_their_colours():
    runs = [run for label in LABELS for run in seeded(label)]
    style = FigureStyle(title="Mine", labels={"skip": "Skip-VAE"})
    figure = draw({"kl": lines(runs, "steps", "kl")}, "steps", "said", style)
    assert figure.get_suptitle() == "Mine"
    assert colours_of(figure) == {style.called(label): colour for label, colour in colours(LABELS).items()}
    assert style.called("skip #0a1b2c") == "Skip-VAE #0a1b2c"
    assert FigureStyle(labels={"free": "F", "free bits": "FB"}).called("free nats") == "free nats"
    assert FigureStyle(labels={"free": "F", "free bits": "FB"}).called("free bits") == "FB"


def test_labels_of_no_contender_and_equal_ones_are_refused():
    with pytest.raises(UsageError, match=r"unknown contender 'skpi'\. Did you mean 'skip'"):
        FigureStyle(labels={"skpi": "S"}).check(["vae", "skip"])
    with pytest.raises(UsageError, match="two contenders of a figure cannot both be called 'vae'"):
        FigureStyle(labels={"skip": "vae"}).check(["vae", "skip"])


def test_numbers_of_seeds_that_differ_stand_in_the_legend():
    runs = [*seeded("vae", seeds=3), *seeded("skip", seeds=1)]
    (legend,) = draw({"kl": lines(runs, "steps", "kl")}, "steps", "").legends
    assert [text.get_text() for text in legend.get_texts()] == ["vae (n = 3)", "skip (n = 1)"]
    assert legend.get_title().get_text() == "mean over seeds, 95 % interval"


def test_drawing_leaves_the_state_of_pyplot_alone():
    draw({"kl": lines([record("vae", points=points([9.0]))], "steps", "kl")}, "steps", "")
    assert "matplotlib.pyplot" not in sys.modules


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
