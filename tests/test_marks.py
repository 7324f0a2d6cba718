"""What a board marks: numbers that cannot be, findings of guards, and rows of several versions of their code."""

from __future__ import annotations

import csv
import io
import json
import math
from dataclasses import replace

import numpy as np
import pytest
from records import record, score_records
from scipy.stats import multivariate_normal

from collapsebench.components import discovery
from collapsebench.data import synthetic
from collapsebench.data.base import Generated
from collapsebench.data.generated import LinearGaussian, SyntheticText
from collapsebench.data.linear_gaussian import basis
from collapsebench.estimates import Estimate
from collapsebench.observation import Observation
from collapsebench.plausibility import SURPRISE, LikelihoodLimit, Quantity, Scores, checker, violations
from collapsebench.record import Finding, Guard, Number, Outcome, Value
from collapsebench.reporting.boards import BoardView, boards
from collapsebench.reporting.leaderboard import (
    ENTRIES,
    FORMATS,
    Cut,
    best_possible,
    likelihood_limits,
    order,
    render,
    score,
)
from collapsebench.reporting.leaderboard.layout import lay_out
from collapsebench.spec import Choice
from collapsebench.store import Store

TEXT = SyntheticText(vocabulary=10, length=4, train=5, valid=30, test=60)
GAUSSIAN = LinearGaussian()
CDIST = Finding(guard=Guard.OPERATIONS, text="uncounted operations: cdist")


@pytest.fixture(scope="module")
def components():
    return discovery.load(kinds={"dataset"})


@pytest.fixture(autouse=True, scope="module")
def own_cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


def choice(dataset):
    return {"dataset": Choice(name=dataset.name, version=dataset.version, params=dataset.model_dump(mode="json"))}


def entropy(dataset):
    return dataset.true_likelihood("test").nll.value


def board(components, dataset, runs, **fields):
    """A board of a generated dataset: columns by contender and seed."""
    made = [
        record(label, seed, columns=columns, protocol=choice(dataset), **fields.get(label, {}))
        for (label, seed), columns in runs.items()
    ]
    found = score((Observation.of(each, ENTRIES) for each in made), likelihood_limits(components))
    return replace(found, reference=best_possible(found.protocol, components))


# ---------------------------------------------------------------------------------------------- the true likelihood


@pytest.mark.parametrize("split", ["valid", "test"])
@pytest.mark.parametrize("dataset", [GAUSSIAN, LinearGaussian(spectrum=(3.0, 0.1), dimension=3, noise_variance=0.5)])
def test_the_true_likelihood_of_vectors_is_that_of_their_normal_distribution(split, dataset):
    values = getattr(dataset.load(None), split).values.astype(float)
    axes = basis(dataset.dimension)
    covariance = axes @ np.diag(dataset.eigenvalues) @ axes.T
    expected = -multivariate_normal(np.zeros(dataset.dimension), covariance).logpdf(values).mean()
    found = dataset.true_likelihood(split)
    assert found.nll.value == pytest.approx(expected, rel=1e-9)
    assert (found.nll.standard_error, found.examples) == (None, len(values))


def test_the_true_likelihood_of_documents_is_exact_for_each_split():
    model = synthetic.language_model(TEXT.vocabulary, TEXT.a, TEXT.b, TEXT.seed)
    _, valid, test = synthetic.samples(model, TEXT.length, (TEXT.train, TEXT.valid, TEXT.test), TEXT.seed)
    for split, sample in (("valid", valid), ("test", test)):
        expected = -synthetic.exact_integrals(model, sample.words).log_evidence.mean()
        for _ in range(2):  # computed, and read from the cache
            assert TEXT.true_likelihood(split) == ((pytest.approx(expected), None), len(sample.words))
    assert SyntheticText(vocabulary=10, length=4, train=5, valid=1, test=2).true_likelihood("valid").examples == 1


def test_another_generated_dataset_has_its_entropy():
    class Coin(Generated):
        """A fair one."""

        name = "coin"

        def load(self, folder):
            raise NotImplementedError

        def truth(self):
            return {"entropy": Estimate(math.log(2), 0.1), "mutual-information": Estimate(0.0)}

    assert Coin().true_likelihood("test") == (Estimate(math.log(2), 0.1), None)


# ---------------------------------------------------------------------------------------------- the rule


def broken(limit, units=2, predictions=None, **columns):
    """The columns that a limit breaks."""
    values = {name: value if isinstance(value, Quantity) else Quantity(value) for name, value in columns.items()}
    found = violations(Scores(values, units, predictions=predictions, limit=limit))
    return [violation.column for violation in found if "distribution that made" in violation.text]


LIMIT = LikelihoodLimit.of(Estimate(20.0), 1000)
ALLOWED = SURPRISE / 1000


@pytest.mark.parametrize("column", ["neg_elbo", "iw_nll", "iw_nll[5]"])
def test_a_likelihood_below_the_true_one_by_more_than_its_error_cannot_be(column):
    assert broken(LIMIT, **{column: 20 - 1.01 * ALLOWED}) == [column]
    assert broken(LIMIT, **{column: 20 - 0.99 * ALLOWED}) == []
    assert broken(LIMIT, **{column: Quantity(19.0, chance=0.98)}) == [column]
    assert broken(LIMIT, **{column: Quantity(19.0, chance=1.0)}) == []
    assert broken(LIMIT, **{column: math.nan}) == []
    assert broken(LIMIT, **{column: -math.inf}) == [column]
    assert broken(None, **{column: 0.0}) == []
    assert broken(LikelihoodLimit.of(Estimate(20.0), None), **{column: 0.0}) == []


def test_the_sum_of_rate_and_distortion_counts_and_neither_alone():
    assert broken(LIMIT, kl=1.0, reconstruction=18.0) == ["reconstruction"]
    assert broken(LIMIT, kl=2.0, reconstruction=18.0) == []
    assert broken(LIMIT, reconstruction=1.0) == []


def test_a_perplexity_counts_for_its_tokens():
    below, above = math.exp(19 / 5), math.exp(20 / 5)
    for column in ("perplexity", "perplexity_bound"):
        assert broken(LIMIT, predictions=Quantity(5.0), **{column: below}) == [column]
        assert broken(LIMIT, predictions=Quantity(5.0), **{column: above}) == []
        assert broken(LIMIT, **{column: below}) == []
        assert [found.text for found in violations(Scores({column: Quantity(0.9)}))] == [f"{column} 0.9 is below 1"]


def test_a_monte_carlo_error_that_is_not_known_is_that_of_a_tight_bound():
    unknown = 5 * math.sqrt(2 / 1000)
    assert broken(LIMIT, neg_elbo=Quantity(20 - ALLOWED - 1.01 * unknown, chance=math.inf)) == ["neg_elbo"]
    assert broken(LIMIT, neg_elbo=Quantity(20 - ALLOWED - 0.99 * unknown, chance=math.inf)) == []


def test_the_examples_are_those_of_the_run_where_the_dataset_does_not_know_them():
    made = record("vae", columns={"iw_nll": 19.9})
    counted = Value.of("mutual-information", "mi_examples", Estimate(1000.0))
    run = Observation.of(made.model_copy(update={"values": (*made.values, counted)}), ENTRIES)
    limit = LikelihoodLimit.of(Estimate(20.0), None)
    assert [found.column for found in checker(run.protocol, limit)(run)] == ["iw_nll"]
    none = Observation.of(made, ENTRIES)
    assert not checker(none.protocol, limit)(none)


@pytest.mark.parametrize("width", [0.0, 0.01, 0.1, 1.0])
def test_no_honest_model_is_marked_wherever_it_sits(width):
    """2,000 models near a truth, each on examples of its own: the best of them beats the truth by chance alone."""
    generator = np.random.default_rng(0)
    examples, dimension = 200, 5
    x = generator.normal(size=(2000, examples, dimension))
    shift = width * generator.normal(size=(2000, 1, dimension))
    scale = np.exp(width * generator.normal(size=(2000, 1, dimension)))
    true = (x**2 / 2).sum(-1).mean(-1)
    model = (((x - shift) / scale) ** 2 / 2 + np.log(scale)).sum(-1).mean(-1)
    for truth, nll in zip(true, model, strict=True):
        assert not broken(LikelihoodLimit.of(Estimate(truth), examples), iw_nll=nll)
    assert ((model < true).sum() > 100) == (width == 0.01)


# ---------------------------------------------------------------------------------------------- boards


@pytest.mark.parametrize("dataset", [TEXT, GAUSSIAN], ids=lambda dataset: dataset.name)
def test_the_true_model_and_those_near_it_are_not_marked(components, dataset):
    exact = Estimate(entropy(dataset), 0.0)
    near = Estimate(entropy(dataset) - 0.01, 0.004)
    found = board(
        components, dataset, {("vae", 1): {"neg_elbo": exact, "iw_nll": exact}, ("skip", 1): {"iw_nll": near}}
    )
    assert not any(row.violations for row in found.rows)
    assert "!" not in render([found], "table")


@pytest.fixture
def leak(components):
    """A contender that sees the future, beside an honest one."""
    honest = {"neg_elbo": Estimate(entropy(TEXT) + 1, 0.05), "iw_nll": Estimate(entropy(TEXT) + 0.5, 0.05), "kl": 1.0}
    peeking = {"neg_elbo": Estimate(0.009, 0.001), "iw_nll": Estimate(0.008, 0.001), "kl": 0.001}
    return board(
        components,
        TEXT,
        {(label, seed): each for label, each in (("vae", honest), ("skip", peeking)) for seed in (1, 2)},
    )


def test_a_contender_that_sees_the_future_is_marked_and_never_the_best(leak):
    for key in ("neg_elbo", "iw_nll"):
        (column,) = (column for column in leak.columns if column.key == key)
        assert leak.best(column) == {"vae"}
    results, distances, differences, _ = lay_out(leak).tables
    assert [[cell.text.endswith("!") for cell in row] for row in results.rows[:2]] == [
        [False] * 5,
        [False, False, True, True, False],
    ]
    assert [row[1].text.endswith("!") for row in distances.rows] == [False, True]
    assert [cell.text.endswith("!") for cell in differences.rows[0]] == [False, False, True, True, False]
    assert [row.label for row in next(order([replace(leak, against="")], "iw_nll")).rows] == ["vae", "skip"]


@pytest.mark.parametrize("format_", FORMATS)
def test_impossible_likelihoods_are_told_in_every_format(leak, format_):
    text = render([leak], format_)
    assert "iw_nll 0.008 is below" in text.replace("\\_", "_")
    assert "*" not in next((line for line in text.splitlines() if line.split()[:1] == ["skip"]), "")


def test_impossible_numbers_of_an_export_stand_in_their_lines(leak):
    lines = list(csv.DictReader(io.StringIO(render([leak], "csv"))))
    marked = {(line["contender"], line["column"]) for line in lines if line["impossible"]}
    assert marked == {("skip", "neg_elbo"), ("skip", "iw_nll")}
    assert {line["best"] for line in lines if line["impossible"]} == {"0"}
    assert "findings" not in lines[0]


def test_the_validation_split_has_a_true_likelihood_of_its_own(tmp_path, components):
    """`--at` shows numbers of the validation split, which have one z for each example and no standard error."""
    near, far = TEXT.true_likelihood("valid").nll.value - 0.1, 0.009
    with Store.open(tmp_path / "runs.sqlite") as store:
        for label, value in (("vae", near), ("skip", far)):
            made = record(label, protocol=choice(TEXT))
            points = tuple(point.model_copy(update={"values": {"neg_elbo": Number.of(value)}}) for point in made.points)
            store.add([made.model_copy(update={"points": points})])
        (found,) = boards(store, view=BoardView(Cut("steps", 350)))
    assert [sorted(row.violations) for row in found.rows] == [[], [1]]


def known(**fields):
    return [record("vae", 1), record("vae", 2), record("skip", 1, **fields), record("skip", 2)]


@pytest.mark.parametrize("format_", FORMATS)
def test_findings_are_marked_and_told_in_every_format(format_):
    assert CDIST.text in render([score_records(known(findings=(CDIST,)))], format_)
    assert "‡" not in (plain := render([score_records(known())], format_))
    assert "findings" not in plain
    assert '"code"' not in plain


def test_each_finding_is_told_once_with_its_seeds():
    late = Finding(guard=Guard.SCHEDULE, text="KL weight at the selected point 0.75")
    runs = [record("skip", 1, findings=(CDIST, late)), record("skip", 2, findings=(CDIST, CDIST)), record("vae", 1)]
    page = lay_out(score_records(runs))
    place = page.notes.index("‡ marks contenders about whose runs there is something to know; these 2:")
    assert page.notes[place + 1 : place + 3] == (
        "skip, seeds 1, 2: uncounted operations: cdist (operations)",
        "skip, seed 1: KL weight at the selected point 0.75 (schedule)",
    )
    assert [row[0].text for row in page.tables[0].rows] == ["vae", "skip ‡"]
    (shown,) = json.loads(render([score_records(runs)], "json"))["boards"]
    assert shown["rows"][1]["findings"][1] == {"guard": "schedule", "text": late.text, "seeds": [1]}


def test_a_row_of_several_versions_of_its_code_is_marked():
    mixed = score_records(
        [
            record("skip", 1, code={"method skip": "a"}),
            record("skip", 2, code={"method skip": "b"}),
            record("skip", 3, code={"method skip": "b"}),
            record("a", 1, code={"method a": "a"}),
            record("a", 2, code={"method a": "a"}),
            record("b", 1, code={"method b": "a"}),
            record("b", 2, code={"method b": "b"}, outcome=Outcome.FAILED),
        ]
    )
    told = {row.label: [finding.text for finding in row.findings] for row in mixed.rows}
    assert told == {"a": [], "b": [], "skip": ["the runs of this row were made by 2 versions of its code"]}
    (shown,) = json.loads(render([mixed], "json"))["boards"]
    rows = {row["contender"]: row for row in shown["rows"]}
    assert rows["skip"]["code"] == {"1": {"method skip": "a"}, "2": {"method skip": "b"}, "3": {"method skip": "b"}}
    assert "findings" not in rows["a"]


def test_a_run_shows_its_code_and_its_findings(command, tmp_path):
    made = record("skip", code={"method skip": "0123abcd"}, findings=(CDIST,))
    with Store.open(tmp_path / "runs.sqlite") as store:
        store.add([made])
    shown = command("runs", "show", made.run_id, "--store", tmp_path / "runs.sqlite").out
    assert "code of method skip" in shown
    assert "0123abcd" in shown
    assert "What the guards found:\nuncounted operations: cdist (operations)" in shown


@pytest.mark.slow
@pytest.mark.torch
@pytest.mark.parametrize("dataset", ["linear-gaussian", "synthetic-text"])
def test_no_honest_run_is_marked(command, dataset):
    """Contenders that train for a while, at the end and on the way."""
    words = ("run", "--method", "skip", "--dataset", dataset, "--set", "data.test=200", "--set", "data.valid=100")
    done = command(*words, "--budget", "100steps", "--set", "evaluation.every=25steps", "-q")
    assert done.code == 0, done.err
    for view in ((), ("--at", "steps=60")):
        (shown,) = json.loads(
            command("leaderboard", "--format", "json", *view, "--store", "results/collapsebench.sqlite").out
        )["boards"]
        assert [row["impossible"] for row in shown["rows"]] == [{}] * len(shown["rows"])
