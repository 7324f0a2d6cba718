"""Embeddings of codes: the same for the same codes, and neighbours stay neighbours."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from collapsebench.metrics.codes import Codes
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
    position, labels = found["vae"]
    distances = np.linalg.norm(position[:, None] - position, axis=-1) + 1e9 * np.eye(len(position))
    assert (labels[distances.argmin(1)] == labels).all()


def test_one_unit_can_be_drawn():
    assert embed(clusters(dimension=4).mean[:, :1], 1).shape == (60, 2)


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
