"""Embeddings of codes: the same for the same codes, and neighbours stay neighbours."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collapsebench.metrics.codes import Codes
from collapsebench.reporting.plotting.canvas import figure_bytes
from collapsebench.reporting.plotting.codes import LABELS, Embedding, draw, embed, embedding_note, embeddings, subset


def clusters(classes=3, each=20, dimension=4, seed=0):
    """Codes whose means lie about a centre of their own for each label, far from each other."""
    generator = np.random.default_rng(seed)
    labels = np.repeat(np.arange(classes), each)
    centres = 50 * np.eye(max(classes, dimension))[:classes, :dimension]
    mean = (centres[labels] + generator.normal(size=(classes * each, dimension))).astype(np.float32)
    return Codes(mean, np.zeros_like(mean), labels)


@given(st.integers(1, 300), st.integers(1, 300), st.integers(0, 2**63 - 1))
def test_a_subset_is_bounded_distinct_and_in_order(total, number, seed):
    chosen = subset(total, number, seed)
    assert len(chosen) == min(total, number)
    assert (np.diff(chosen) > 0).all()
    assert chosen[0] >= 0
    assert chosen[-1] < total
    assert (subset(total, number, seed) == chosen).all()


def test_equal_codes_have_equal_positions_and_neighbours_have_one_label():
    codes = clusters()
    found = embeddings({"vae": codes, "skip": codes}, 60, 2**63 - 1)
    assert (found["vae"].position == found["skip"].position).all()
    position, labels, note = found["vae"]
    assert not note
    distances = np.linalg.norm(position[:, None] - position, axis=-1) + 1e9 * np.eye(len(position))
    assert (labels[distances.argmin(1)] == labels).all()


def placed(mean):
    """Where examples with these means stand, and the note."""
    mean = np.asarray(mean, np.float32)
    return embed(mean, np.arange(len(mean)) % 3, 1)


def test_one_unit_is_a_strip_in_the_order_of_its_means():
    mean = clusters(dimension=4).mean[:, :1]
    found = placed(mean)
    assert (found.position[:, 0].argsort() == mean[:, 0].argsort()).all()
    assert np.abs(found.position[:, 1]).max() <= 0.1
    assert found.note == "one unit: a strip, height without meaning"


@pytest.mark.parametrize("value", [0.0, 1.0, -3e30, 1e-38])
def test_constant_codes_stand_at_one_point(value):
    found = placed(np.full((60, 5), value))
    assert not found.position.any()
    assert found.note == "constant codes: all at one point"


def test_codes_that_differ_by_rounding_alone_are_constant():
    mean = np.full((60, 5), 3, np.float32)
    mean[::2] = np.nextafter(mean[::2], np.float32(4))
    assert placed(mean).note == "constant codes: all at one point"


def test_one_unit_of_several_that_varies_is_a_strip():
    mean = np.zeros((60, 5))
    mean[:, 3] = np.arange(60)
    assert placed(mean).note == "1 of 5 units varies: a strip, height without meaning"


def test_without_units_or_finite_means_nothing_is_placed():
    assert placed(np.zeros((60, 0))).note == "no latent units: no codes"
    assert placed(np.zeros((0, 3))).note == "nothing to draw"
    lost = placed(np.full((60, 3), np.nan))
    assert (len(lost.position), lost.note) == (0, "60 of 60 means are not finite; nothing to draw")


def test_means_that_are_not_finite_are_left_out():
    mean = clusters().mean.copy()
    mean[3, 1], mean[4, 0] = np.inf, np.nan
    found = placed(mean)
    assert (len(found.position), len(found.labels)) == (58, 58)
    assert found.note == "2 of 60 means are not finite"


@pytest.mark.slow
@settings(max_examples=25)
@given(st.integers(1, 12), st.integers(0, 4), st.sampled_from([0.0, 1e-30, 1e-9, 1.0, 1e9, 3e38]), st.integers(1, 4))
def test_any_codes_can_be_placed_and_drawn(examples, units, scale, different):
    """A few examples, few different means, and every scale that a 32-bit float has."""
    generator = np.random.default_rng(0)
    mean = (scale * generator.uniform(-1, 1, (different, units))).astype(np.float32)
    found = placed(mean[np.arange(examples) % different])
    assert np.isfinite(found.position).all()
    assert len(found.position) == len(found.labels)
    assert figure_bytes(draw({"$vae": found}, "$_", "note"), "svg")


def test_every_contender_is_drawn_from_the_same_examples():
    first, second = clusters(seed=1), clusters(seed=2)
    found = embeddings({"vae": first, "skip": second}, 10, 3)
    assert (found["vae"].labels == found["skip"].labels).all()
    assert len(found["vae"].position) == 10


def test_codes_without_labels_are_refused():
    codes = clusters()
    with pytest.raises(ValueError, match="the codes of 'vae' have no labels"):
        embeddings({"vae": Codes(codes.mean, codes.logvar, None)}, 10, 1)


@pytest.mark.parametrize("classes", [2, len(LABELS), 25])
def test_the_figure_has_a_panel_a_contender_and_a_colour_a_label(classes):
    position = np.random.default_rng(0).normal(size=(100, 2)).astype(np.float32)
    labels = np.arange(100) % classes
    figure = draw({"vae": Embedding(position, labels), "skip": Embedding(-position, labels)}, "mnist", "t-SNE")
    assert [axes.get_title() for axes in figure.axes] == ["vae", "skip"]
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == [str(name) for name in range(classes)]
    for axes, sign in zip(figure.axes, (1, -1), strict=True):
        shown = [points.get_offsets() for points in axes.collections]
        for name, points in enumerate(shown):
            assert np.allclose(points, sign * position[labels == name])
        assert len({tuple(points.get_facecolor()[0]) for points in axes.collections}) == classes
        assert [text.get_text() for text in axes.texts] == [str(name) for name in range(classes)]


def test_a_label_that_a_subset_lacks_is_in_the_legend_alone():
    here, there = Embedding(np.zeros((2, 2)), np.array([0, 1])), Embedding(np.ones((2, 2)), np.array([1, 1]))
    figure = draw({"vae": here, "skip": there}, "", "")
    assert [text.get_text() for text in figure.axes[1].texts] == ["1"]


def test_the_caption_says_how_it_was_made():
    assert embedding_note(2000, 10000, 3).startswith("t-SNE of the posterior means of 2,000 of 10,000 test examples")
    assert "perplexity 30" in embedding_note(2000, 10000, 3)
    assert "perplexity 3," in embedding_note(10, 10, 3)
    assert embedding_note(2000, 10000, 3).endswith("seed 3")


@given(st.lists(st.tuples(st.floats(1e-3, 1e3), st.floats(1e-3, 1e3)), min_size=1, max_size=4))
def test_panels_have_one_shape_equal_scales_and_all_their_examples(extents):
    embedded = {
        f"contender {number}": Embedding(np.array([[0, 0], extent], np.float32), np.array([0, 1]))
        for number, extent in enumerate(extents)
    }
    figure = draw(embedded, "", "")
    assert len({axes.get_box_aspect() for axes in figure.axes}) == 1
    for axes, (width, height) in zip(figure.axes, extents, strict=True):
        (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
        assert (top - bottom) / (right - left) == pytest.approx(axes.get_box_aspect())
        assert left < 0 < width < right
        assert bottom < 0 < height < top
