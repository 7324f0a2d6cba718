"""Figures of numbers that a figure was not made for: NaN, infinities, zeros, one point. Each is drawn, none ends."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from records import point, record, score_records

from collapsebench.estimates import Direction, Estimate
from collapsebench.metrics.codes import Codes, codes_file
from collapsebench.observation import Observation
from collapsebench.record import Finding, Guard, Number, Value
from collapsebench.reporting.plotting import depth, rate_distortion, spectrum, trajectories
from collapsebench.spec import Contender, MethodChoice
from collapsebench.store import Store

values = st.sampled_from([math.nan, math.inf, -math.inf, 0.0, -1.0, 1e-320, 1e308, -1e308, 5.0]) | st.floats()
NAMES = st.sampled_from(["vae", "skip", "$\\frac{", "_hidden", "a\nb\x1b", "\u202ex", "$", "\\$"])


def drawn(figure):
    """Compute every place in the figure, as writing it does."""
    figure.draw_without_rendering()
    return True


def run(label, seed, columns, points=None):
    made = record("skip", seed, columns=columns)
    heads = [value.model_copy(update={"board": True}) for value in made.values]
    own = Contender.of((MethodChoice(name="skip", params={"label": label}, passed={}),))
    fields = {"spec": made.spec.model_copy(update={"contender": own}), "contender": label, "values": tuple(heads)}
    fields |= {} if points is None else {"points": points}
    return made.model_copy(update=fields)


def measured(label, seed, rate, distortion):
    made = run(label, seed, {"kl": rate})
    added = Value.of("elbo", "reconstruction", Estimate(distortion), unit="nats", title="Rec", board=True)
    return made.model_copy(update={"values": (*made.values, added)})


@pytest.mark.slow
@settings(max_examples=20)
@given(st.lists(st.tuples(NAMES, values, values), min_size=1, max_size=5), NAMES)
def test_any_rates_and_distortions(numbers, title):
    runs = [measured(label, seed, *each) for label, *each in numbers for seed in (1, 2)]
    places = rate_distortion.places(score_records(runs))
    assert drawn(rate_distortion.draw(places, title))


@pytest.mark.slow
@settings(max_examples=8)
@given(st.lists(st.tuples(NAMES, st.lists(values, min_size=1, max_size=4)), min_size=1, max_size=4), NAMES)
def test_any_variances(numbers, title):
    every = [spectrum.Spectrum(label, {1: variances, 2: variances[::-1]}) for label, variances in numbers]
    assert drawn(spectrum.draw(every, 0.01, title))
    assert drawn(spectrum.draw(every, None, title))


@pytest.mark.slow
@settings(max_examples=20)
@given(st.lists(st.tuples(NAMES, st.lists(values, min_size=1, max_size=3)), min_size=1, max_size=4), NAMES)
def test_any_values_over_a_setting(numbers, title):
    boards = {
        float(place): score_records(
            [run(label, seed, {"kl": value}) for label, each in numbers for seed, value in enumerate(each)]
        )
        for place in (2, 3)
    }
    (column,) = (column for column in boards[2.0].columns if column.key == "kl")
    column = column._replace(title=title)
    by_column = {column: depth.series(boards, "kl"), column._replace(key="none", direction=Direction.LOWER): []}
    assert drawn(depth.draw(by_column, title, title, title))


@pytest.mark.slow
@settings(max_examples=20)
@given(st.lists(st.tuples(NAMES, st.lists(st.tuples(values, values), max_size=4)), min_size=1, max_size=4), NAMES)
def test_any_trajectories(numbers, title):
    runs = [
        run(
            label,
            seed,
            {"kl": 1.0},
            tuple(point(step).model_copy(update={"values": {"kl": Number.of(value)}}) for step, value in points),
        )
        for label, points in numbers
        for seed in (1, 2)
    ]
    lines = trajectories.lines([Observation.of(each) for each in runs], "steps", "kl")
    if lines:
        assert drawn(trajectories.draw({"kl": lines}, "steps", title))


def test_a_collapsed_spectrum_stands_at_the_bottom_and_says_so():
    figure = spectrum.draw([spectrum.Spectrum("vae", {1: [0.5, 0.0, math.nan]})], 0.01, "digits")
    (axes,) = figure.axes
    shown = axes.get_lines()[1].get_ydata()
    assert shown[0] == 0.5
    assert shown[1] == 1e-3
    assert math.isnan(shown[2])
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [
        "vae",
        "active above 0.01",
        "variance 0",
    ]
    total = spectrum.draw([spectrum.Spectrum("vae", {1: [0.0, 0.0]})], None, "digits")
    assert total.axes[0].get_lines()[1].get_ydata().tolist() == [1e-7, 1e-7]


def test_marks_of_the_board_stand_in_the_plane():
    finding = Finding(guard=Guard.OPERATIONS, text="uncounted operations: cdist")
    good, bad = measured("vae", 1, 1.0, 30.0), measured("skip", 1, -1.0, 30.0)
    made = score_records([good, bad.model_copy(update={"findings": (finding,)})])
    figure = rate_distortion.draw(rate_distortion.places(made), "digits")
    legend = figure.legends[0]
    assert [text.get_text() for text in legend.get_texts()] == ["vae", "skip ‡ !"]
    assert " ".join(legend.get_title().get_text().split()).endswith("!, ‡: see the board")


@pytest.fixture
def codes(command, tmp_path):
    """Call `plot codes` on runs whose posterior means are given, by contender."""

    def plot(*, examples=40, **means):
        path = tmp_path / "runs.sqlite"
        with Store.open(path) as store:
            for label, mean in means.items():
                made = record(label)
                store.add([made])
                array = np.broadcast_to(np.asarray(mean, np.float32), (examples, len(mean))).copy()
                file = codes_file(tmp_path / "runs.sqlite.codes", made.run_id)
                Codes(array, np.zeros_like(array), np.arange(examples) % 3).write(file)
                store.attach(made.run_id, "codes", file)
        return command("plot", "codes", "--dataset", "digits", "--store", path, "--output", "codes.png")

    return plot


def test_collapsed_contenders_and_those_without_units_are_drawn(codes, tmp_path):
    answer = codes(vae=[0.5, 0.5], skip=[])
    assert (answer.code, answer.err) == (0, "")
    assert (tmp_path / "codes.png").read_bytes().startswith(b"\x89PNG")


def test_one_example_is_drawn(codes):
    assert codes(vae=[0.5, 0.5], examples=1).code == 0
