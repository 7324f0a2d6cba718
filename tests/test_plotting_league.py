"""The figures of a league: its profiles and its fronts."""

from __future__ import annotations

import math
import re
from collections import Counter
from itertools import combinations, pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from leagues import FEW, scores

from collapsebench.errors import UsageError
from collapsebench.reporting.colours import GREYS, looks
from collapsebench.reporting.league import league
from collapsebench.reporting.plotting import canvas, league_fronts, league_profile
from collapsebench.reporting.plotting.canvas import FigureStyle, figure_bytes

TASKS = {"text · quick": (330.0, 2.0), "digits · deep": (24.0, 0.5), "mnist": (45.0, 3.0), "yahoo": (60.0, 0.1)}
METHODS = tuple(f"method-{number}[nats={number}]" for number in range(33))
NAMES = ("vae", "no-latent", *METHODS)


def invented(names=NAMES, tasks=tuple(TASKS), seeds=5):
    """Scores of contenders that use z more or less, at a gain or a cost."""
    rng = np.random.default_rng(1)
    nlls, informations = {}, {}
    for task in tasks:
        base, unit = TASKS[task]
        nlls[task], informations[task] = {}, {}
        for name in names:
            use = {"no-latent": 0.0, "vae": 0.1}.get(name, min(5, rng.gamma(1.2, 1.5)))
            gain = unit * (rng.uniform(0.3, 1) * (1 - np.exp(-use)) - rng.uniform(0, 0.4) * max(0, use - 1))
            nlls[task][name] = (base - gain + 0.08 * unit * rng.normal(size=seeds)).tolist()
            informations[task][name] = (use + 0.1 * rng.normal(size=seeds)).tolist()
    return nlls, informations


def made(nlls, informations, baseline="vae", reference="no-latent"):
    return league(scores(nlls), scores(informations), baseline=baseline, reference=reference, bootstrap=FEW)


LEAGUE = made(*invented())
FEWER = invented(NAMES[:6], ("digits · deep",))
FIGURES = {"profile": league_profile.draw, "fronts": league_fronts.draw}


def written(figure):
    """The names in the panels, and beside them, by their text."""
    return {text.get_text(): text for panel in figure.axes for text in panel.texts}


def boxes(panel):
    return [text.get_window_extent() for text in panel.texts]


# --- both


@pytest.mark.parametrize("draw", FIGURES.values(), ids=FIGURES)
@pytest.mark.parametrize("format_", canvas.METADATA)
def test_equal_figures_are_equal_bytes_on_any_day(draw, format_, monkeypatch):
    files = []
    for epoch in ("1", "1000000000"):
        monkeypatch.setenv("SOURCE_DATE_EPOCH", epoch)
        files.append(figure_bytes(draw(made(*invented(NAMES[:12], ("mnist",))), "t"), format_))
    assert files[0] == files[1]


@pytest.mark.parametrize("draw", FIGURES.values(), ids=FIGURES)
@pytest.mark.parametrize("names", [NAMES, NAMES[:6]], ids=["many", "few"])
def test_no_name_covers_another_one(draw, names):
    figure = draw(made(*invented(names)), "t")
    figure.draw_without_rendering()
    for panel in figure.axes:
        assert len(panel.texts) >= 2
        assert not any(one.overlaps(other) for one, other in combinations(boxes(panel), 2))


@pytest.mark.parametrize("draw", FIGURES.values(), ids=FIGURES)
def test_contenders_are_called_as_their_user_wants(draw):
    style = FigureStyle(title="Mine", labels={"vae": "VAE $x$", "no-latent": "nothing"})
    figure = draw(LEAGUE, "said", style)
    assert figure.get_suptitle() == "Mine"
    assert r"VAE \$x\$" in written(figure)
    (panel, *_), (legend,) = figure.axes, figure.legends
    assert "nothing" in " ".join([panel.get_xlabel(), *(text.get_text() for text in legend.get_texts())])


@pytest.mark.parametrize("draw", FIGURES.values(), ids=FIGURES)
def test_the_baseline_and_the_reference_are_grey_however_they_are_called(draw):
    called = {"vae": "VAE", "no-latent": "no latent variable", METHODS[0]: "vae"}
    tables = (
        {task: {called.get(name, name): own[name] for name in own} for task, own in table.items()} for table in FEWER
    )
    usual, other = (greys(draw(found, "t")) for found in (made(*FEWER), made(*tables, "VAE", "no latent variable")))
    assert usual == other
    assert len(usual) == 2


def greys(figure):
    """How many lines have each grey of those that others are compared with."""
    return Counter(line.get_color() for line in figure.axes[0].get_lines() if line.get_color() in GREYS.values())


number = st.sampled_from([math.nan, math.inf, -1e120, 1e120, 0.0, 5.0]) | st.integers(-8000, 8000).map(lambda n: n / 8)


@pytest.mark.slow
@settings(max_examples=15, deadline=None)
@given(st.data())
def test_any_scores_are_drawn(data):
    names = ("vae", "no-latent", "a\nb\x1b", "$\\frac{", "_hidden")
    runs = st.fixed_dictionaries({name: st.lists(number, min_size=2, max_size=2) for name in names})
    tables = st.fixed_dictionaries({"t$": runs, "u": runs})
    found = made(data.draw(tables), data.draw(tables))
    league_fronts.draw(found, "t").draw_without_rendering()
    if found.profile is not None:
        league_profile.draw(found, "t").draw_without_rendering()


# --- profiles


def lines_of(figure):
    """The lines of contenders: those that go from one edge of the panel to the other by steps."""
    (panel,) = figure.axes
    return [line for line in panel.get_lines() if line.get_drawstyle() == "steps-post"]


def test_the_lines_are_the_profiles():
    figure = league_profile.draw(LEAGUE, "t")
    (panel,) = figure.axes
    for name, line in zip(LEAGUE.losses.contenders, lines_of(figure), strict=True):
        x, y = line.get_xdata(), line.get_ydata()
        assert (x[0], x[-1]) == panel.get_xlim()
        between = [(left + right) / 2 for left, right in pairwise(x)]
        assert list(y[:-1]) == pytest.approx([within(name, regret) for regret in between])


def within(name, regret):
    """Count the runs of a contender within a regret."""
    return np.mean([np.mean(task.runs[name] <= regret) for task in LEAGUE.regrets.losses.tasks])


def test_the_area_is_that_below_the_line():
    middles = (np.arange(1000) + 0.5) / 1000
    for name in NAMES[:5]:
        below = np.mean([within(name, regret) for regret in middles])
        assert league_profile.area(LEAGUE, name) == pytest.approx(below, abs=1e-3)


def test_the_best_by_area_are_named_with_both_baselines_and_others_are_grey():
    named = league_profile.best(LEAGUE)
    areas = {name: league_profile.area(LEAGUE, name) for name in NAMES}
    assert {"vae", "no-latent"} < set(named)
    assert len(named) == league_profile.NAMED + 2
    worst_named = min(areas[name] for name in named if name in METHODS)
    assert all(areas[name] <= worst_named for name in METHODS if name not in named)
    assert [areas[name] for name in named] == sorted((areas[name] for name in named), reverse=True)
    figure = league_profile.draw(LEAGUE, "t")
    assert written(figure).keys() == set(named)
    look = looks(named)
    for name, line in zip(NAMES, lines_of(figure), strict=True):
        assert line.get_color() == (look[name].colour if name in look else "0.82")
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["25 other contenders"]
    assert said(figure).startswith(
        "20 runs a contender on 4 tasks; in colour: the 8 whose lines are the highest on average"
    )


def test_a_task_on_which_nothing_beats_the_model_without_z_is_said_to_have_no_regret():
    nlls, informations = invented(NAMES[:6])
    lost = next(iter(TASKS))
    nlls[lost]["no-latent"] = [score - 100 for score in nlls[lost]["no-latent"]]
    assert said(league_profile.draw(made(nlls, informations), "t")).startswith(
        "15 runs a contender on 3 tasks (no regret on 1)"
    )


def test_few_contenders_are_all_named():
    figure = league_profile.draw(made(*invented(NAMES[:6])), "t")
    assert written(figure).keys() == set(NAMES[:6])
    assert figure.legends[0].get_texts() == []
    assert "in colour" not in said(figure)


LOST = made(
    {"t": {"no-latent": [10.0] * 4, "vae": [5.0] * 4, "best": [0.0] * 4, "lost": [0.0, 0.0, 0.0, None]}},
    {"t": {"vae": [1.0] * 4, "best": [1.0] * 4, "lost": [1.0] * 4}},
)
"""A contender with a larger area than the baseline, whose line ends below."""


@pytest.mark.parametrize("found", [LEAGUE, LOST], ids=["many", "lost"])
def test_names_stand_outside_in_the_order_of_their_lines_ends(found):
    figure = league_profile.draw(found, "t")
    figure.draw_without_rendering()
    (panel,) = figure.axes
    edge = panel.get_window_extent().x1
    lines = zip(found.losses.contenders, lines_of(figure), strict=True)
    ends = {name: line.get_ydata()[-1] for name, line in lines}
    shown = sorted(written(figure).items(), key=lambda item: -item[1].get_window_extent().y0)
    order = [ends[name] for name, _ in shown]
    assert order == sorted(order, reverse=True)
    assert all(text.get_window_extent().x0 > edge for _, text in shown)
    assert all(text.get_window_extent().x1 <= figure.bbox.x1 for _, text in shown)
    hooks = [line for line in panel.get_lines() if line.get_transform() == panel.transAxes]
    assert len(hooks) == len(shown)
    for (name, _), hook in zip(shown, hooks, strict=True):
        assert panel.transAxes.transform((1, hook.get_ydata()[0]))[1] == pytest.approx(
            panel.transData.transform((1, ends[name]))[1]
        )


def test_a_panel_keeps_its_size_beside_long_names():
    widths = []
    for name in ("vae", "a name that is very much longer than that of the others"):
        figure = league_profile.draw(LEAGUE, "t", FigureStyle(labels={"vae": name}))
        figure.draw_without_rendering()
        widths.append(figure.axes[0].get_window_extent().width)
    assert widths[0] == pytest.approx(widths[1], rel=0.02)


def test_runs_far_off_do_not_squeeze_the_panel_and_are_said():
    nlls, informations = invented(NAMES[:6])
    assert "beyond the edge" not in said(league_profile.draw(made(nearer(nlls), informations), "t"))
    nlls["mnist"][METHODS[0]][0] = 1e9
    figure = league_profile.draw(made(nlls, informations), "t")
    assert "lines go on beyond the edge" in said(figure)
    left, right = figure.axes[0].get_xlim()
    assert -1 <= left < 0
    assert 1 < right <= 1.5


def nearer(nlls):
    """The same without regrets beyond the panel."""
    return {
        task: {name: [min(value, TASKS[task][0] + 0.01 * TASKS[task][1]) for value in own[name]] for name in own}
        for task, own in nlls.items()
    }


def said(figure):
    (legend,) = figure.legends
    return " ".join(legend.get_title().get_text().split())


def test_a_league_without_a_profile_is_refused():
    nothing = made({"t": {"vae": [2.0], "no-latent": [1.0]}}, {"t": {"vae": [0.0], "no-latent": [0.0]}})
    with pytest.raises(ValueError, match="needs a task on which some contender is better"):
        league_profile.draw(nothing, "t")


@pytest.mark.parametrize(
    ("size", "label", "text"),
    [
        ((3.3, 1.2), "vae", "larger --size"),
        ((3.3, 2.6), "a label that is very much longer than a name should be", "short ones with --label"),
    ],
)
def test_names_without_room_in_a_fixed_size_are_refused(size, label, text):
    style = FigureStyle(title="", size=size, labels={"vae": label})
    with style.settings(), pytest.raises(UsageError, match=text):
        league_profile.draw(LEAGUE, "t", style)


def test_a_column_of_a_paper_has_room_for_a_profile():
    style = FigureStyle(title="", size=(3.3, 2.6))
    with style.settings():
        figure = league_profile.draw(LEAGUE, "t", style)
        figure.draw_without_rendering()
    assert tuple(figure.get_size_inches()) == (3.3, 2.6)
    assert all(box.x1 <= figure.bbox.x1 for box in boxes(figure.axes[0]))


# --- fronts


def test_each_task_has_a_panel_with_its_front_its_reference_and_all_points():
    figure = league_fronts.draw(LEAGUE, "t")
    assert [panel.get_title().splitlines()[0] for panel in figure.axes] == list(TASKS)
    for panel, front in zip(figure.axes, LEAGUE.fronts, strict=True):
        shown = league_fronts.scene(front, LEAGUE)
        assert (panel.get_xlabel(), panel.get_ylabel()) == ("IW-NLL [nats] ↓", "MI ≥ [nats] ↑")
        edge, _, mark = panel.get_lines()[:3]
        assert (mark.get_xdata()[0], mark.get_ydata()[0], mark.get_marker()) == (*front.reference, "x")
        corners = list(zip(edge.get_xdata(), edge.get_ydata(), strict=True))
        assert list(dict.fromkeys(corner for corner in corners if corner in set(front.points.values()))) == [
            front.points[name] for name in front.members
        ]
        assert all(a[0] == b[0] or a[1] == b[1] for a, b in pairwise(corners))
        assert shown.named.keys() | {"no-latent"} == {*front.members, "vae", "no-latent"}
        assert len(shown.others) + len(shown.named) == len(NAMES) - 1


def test_the_shade_is_the_area_of_the_front():
    for panel, front in zip(league_fronts.draw(LEAGUE, "t").axes, LEAGUE.fronts, strict=True):
        (shade,) = panel.collections
        x, y = shade.get_paths()[0].vertices.T
        assert abs(np.sum(x[:-1] * y[1:] - x[1:] * y[:-1])) / 2 == pytest.approx(front.area)


def test_members_of_fronts_and_the_baseline_are_named_and_have_one_look_in_all_panels():
    figure = league_fronts.draw(LEAGUE, "t")
    names = {name for front in LEAGUE.fronts for name in front.members} | {"vae"}
    look = looks(name for name in NAMES if name in names)
    for panel, front in zip(figure.axes, LEAGUE.fronts, strict=True):
        shown = league_fronts.scene(front, LEAGUE)
        texts = {re.sub(r" \([-\d., e+]*\)$", "", text.get_text()) for text in panel.texts}
        assert texts == {*front.members, "vae"} - {"no-latent"}
        for name, point in shown.named.items():
            at = shown.view.at_edge(point)
            drawn = [
                (line.get_color(), line.get_marker())
                for line in panel.get_lines()
                if (*line.get_xdata(), *line.get_ydata()) == at
            ]
            assert (look[name].colour, str(look[name].marker)) in drawn


def test_names_cover_no_point_and_stay_in_their_panel():
    figure = league_fronts.draw(LEAGUE, "t")
    figure.draw_without_rendering()
    for panel, front in zip(figure.axes, LEAGUE.fronts, strict=True):
        view = league_fronts.scene(front, LEAGUE).view
        places = [panel.transData.transform(view.at_edge(point)) for point in front.points.values()]
        room = panel.get_window_extent()
        for box in boxes(panel):
            assert not any(box.contains(*place) for place in places)
            assert room.x0 - 1 <= box.x0 <= box.x1 <= room.x1 + 1
            assert room.y0 - 1 <= box.y0 <= box.y1 <= room.y1 + 1


def small(**points):
    """A league of one task and one seed, from the IW-NLL and the MI of contenders."""
    given = {"no_latent": (100.0, 0.0), "vae": (99.0, 0.2)} | points
    nlls = {name.replace("_", "-"): [nll] for name, (nll, _) in given.items()}
    informations = {name.replace("_", "-"): [information] for name, (_, information) in given.items()}
    return made({"t": nlls}, {"t": informations})


def test_contenders_far_off_do_not_squeeze_a_panel():
    figure = league_fronts.draw(small(a=(97.0, 2.0), b=(400.0, 1.0), c=(500.0, 5.0)), "t")
    (panel,) = figure.axes
    left, right = panel.get_xlim()
    assert 95 < left < 97
    assert 100 < right < 102
    assert panel.get_title() == "t\n2 beyond the edge"
    assert {text.get_text() for text in panel.texts} == {"vae", "a", "c (500, 5)"}  # b is not on the front


def test_without_the_reference_all_members_are_shown_and_nothing_is_shaded():
    figure = league_fronts.draw(small(no_latent=(math.nan, 0.0), a=(97.0, 2.0), c=(110.0, 5.0)), "t")
    (panel,) = figure.axes
    assert panel.get_xlim()[1] > 110
    assert len(panel.collections) == 0
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["front"]


def test_without_any_point_there_is_an_empty_panel():
    nothing = {"no_latent": (math.nan, 0.0), "vae": (math.nan, 0.0)}
    figure = league_fronts.draw(small(**nothing), "t")
    assert (figure.axes[0].get_title(), len(figure.axes[0].texts)) == ("t\n2 without a point", 0)


def test_contenders_without_a_point_are_counted():
    lost = {"a": (math.nan, 1.0), "b": (97.0, math.nan), "c": (1e120, 1.0)}
    (panel,) = league_fronts.draw(small(**lost, d=(98.0, 1.0), e=(500.0, 0.0)), "t").axes
    assert panel.get_title() == "t\n1 beyond the edge, 3 without a point"
    (panel,) = league_fronts.draw(small(no_latent=(math.nan, 0.0)), "t").axes
    assert panel.get_title() == "t\n1 without a point"


@pytest.mark.parametrize("size", [(3.3, 4.0), (4.6, 4.0), (7.0, 5.0)])
def test_what_panels_say_covers_nothing_of_their_neighbours(size):
    nlls, informations = invented(tasks=("mnist", "yahoo"))
    for name in NAMES[5:9]:
        nlls["mnist"][name][0] = nlls["yahoo"][name][0] = math.nan
        nlls["mnist"][NAMES[9]][0] = nlls["yahoo"][NAMES[9]][0] = 1e6
    style = FigureStyle(title="", size=size)
    with style.settings():
        figure = league_fronts.draw(made(nlls, informations), "t", style)
        figure.draw_without_rendering()
    titles = [panel.title.get_window_extent() for panel in figure.axes]
    assert all("4 without a point" in " ".join(panel.get_title().split()) for panel in figure.axes)
    assert not titles[0].overlaps(titles[1])
    assert all(0 <= box.x0 <= box.x1 <= figure.bbox.x1 for box in titles)


def test_panels_without_room_are_refused():
    style = FigureStyle(title="", size=(2.0, 2.0))
    with (
        style.settings(),
        pytest.raises(UsageError, match="the panels do not fit 2 × 2 inches: choose a larger --size"),
    ):
        league_fronts.draw(LEAGUE, "t", style)


def test_names_for_which_a_small_panel_has_no_room_are_counted():
    style = FigureStyle(title="", size=(4.6, 4.0))
    with style.settings():
        figure = league_fronts.draw(LEAGUE, "t", style)
        figure.draw_without_rendering()
    left_out = 0
    for panel, front in zip(figure.axes, LEAGUE.fronts, strict=True):
        counted = re.search(r"(\d+) without name", " ".join(panel.get_title().split()))
        unnamed = len(league_fronts.scene(front, LEAGUE).named) - len(panel.texts)
        assert unnamed == (int(counted[1]) if counted else 0)
        left_out += unnamed
        assert not any(one.overlaps(other) for one, other in combinations(boxes(panel), 2))
    assert left_out > 0


def test_equal_points_are_both_named():
    figure = league_fronts.draw(small(a=(97.0, 2.0), b=(97.0, 2.0)), "t")
    assert written(figure).keys() == {"vae", "a", "b"}
