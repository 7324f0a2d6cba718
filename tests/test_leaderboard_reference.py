"""The best possible row: from which datasets it is known, what is measured against it, and where it stands."""

from __future__ import annotations

import csv
import io
import json
import math
import subprocess
import sys
from dataclasses import replace

import pytest
from oracles import moments_of
from records import record, score_records, spec

from collapsebench.components import discovery
from collapsebench.data.base import Generated
from collapsebench.data.generated import LinearGaussian, SyntheticText
from collapsebench.estimates import Direction, Estimate
from collapsebench.record import Outcome, Value
from collapsebench.reporting.leaderboard import FORMATS, best_possible, order, render, select
from collapsebench.reporting.leaderboard.reference import regret, share
from collapsebench.selfcheck.exact.linear import LinearVAE
from collapsebench.spec import Choice
from collapsebench.store import Store

REFERENCE = {"iw_nll": Estimate(20.0), "mi_lower": Estimate(2.0, 0.1), "perplexity": Estimate(9.0)}
SMALL = {"vocabulary": 10, "length": 4, "train": 5, "valid": 5, "test": 60}


@pytest.fixture(scope="module")
def components():
    return discovery.load()


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def run(label, seed, nll, information, **fields):
    """A run with a likelihood and a bound on the information."""
    made = record(label, seed, columns={"iw_nll": nll}, **fields)
    bound = Value.of(
        "mutual-information",
        "mi_lower",
        Estimate(information, 0.05),
        unit="nats",
        title="MI ≥",
        direction=Direction.HIGHER,
        board=True,
    )
    return made.model_copy(update={"values": (*made.values, bound)})


def board(**fields):
    runs = [run("vae", 1, 22.0, 0.0), run("vae", 2, 23.0, 0.2), run("skip", 1, 21.0, 1.0), run("skip", 2, 21.5, 3.0)]
    return replace(score_records(runs), **({"reference": REFERENCE} | fields))


def protocol(dataset, **setting):
    """A protocol on a dataset with all of its parameters, as runs store them."""
    made = spec().protocol
    choice = Choice(name=dataset.name, version=dataset.version, params=dataset.model_dump(mode="json"))
    return made.model_copy(update={"dataset": choice, "setting": made.setting.model_copy(update=setting)})


def linear(variance=1.5, learn_variance=False):
    return {"decoder": Choice(name="linear", params={"variance": variance, "learn_variance": learn_variance})}


def test_regret_and_share_are_of_every_seed():
    shown = board()
    vae, skip = shown.rows
    assert regret(shown, vae).seeds == {1: 2.0, 2: 3.0}
    assert regret(shown, skip).mean == pytest.approx(1.25)
    assert regret(shown, skip).half_width == pytest.approx(skip.sample("iw_nll").half_width)
    assert share(shown, skip).seeds == {1: 50.0, 2: 150.0}
    assert share(shown, skip).errors == {1: pytest.approx(2.5), 2: pytest.approx(2.5)}


def test_they_are_none_where_something_is_not_known():
    shown = board(reference={"mi_lower": Estimate(0.0)})
    assert regret(shown, shown.rows[0]) is None
    assert share(shown, shown.rows[0]) is None
    unfinished = score_records([run("vae", 1, 22.0, 0.0), record("vae", 2, outcome=Outcome.DIVERGED)])
    unfinished = replace(unfinished, reference=REFERENCE)
    assert regret(unfinished, unfinished.rows[0]) is None


def test_the_truth_of_synthetic_text(components):
    dataset = SyntheticText(**SMALL)
    best, truth = best_possible(protocol(dataset), components), dataset.truth()
    assert best["iw_nll"] == Estimate(truth["entropy"].value)
    assert best["mi_lower"] == best["mi_upper"] == truth["mutual-information"]
    assert best["perplexity"].value == pytest.approx(math.exp(truth["entropy"].value / 5))


@pytest.mark.parametrize("variance", [0.25, 1.5, 10.0])
def test_the_optimum_of_the_linear_decoder(variance, components):
    """Against the closed forms of the exact tier, on the test split itself."""
    dataset = LinearGaussian()
    best = best_possible(protocol(dataset, latent_dim=3, **linear(variance)), components)
    model = LinearVAE.optimum(dataset.eigenvalues, 3, variance)
    test = dataset.load(None).test.values
    moments = moments_of(dataset.eigenvalues)
    assert best["iw_nll"].value == pytest.approx(-model.log_density(test).mean(), rel=1e-9)
    assert best["neg_elbo"] == best["iw_nll"]
    assert best["mi_lower"].value == pytest.approx(model.mutual_information(moments), abs=1e-9)
    assert best["kl"].value == pytest.approx(model.kl(moments).sum(), abs=1e-9)
    assert best["active_units"].value == (model.mean_variance(moments) > 1e-6).sum()


def test_a_learned_variance_is_the_best_one(components):
    dataset = LinearGaussian()
    best = best_possible(protocol(dataset, latent_dim=5, **linear(9.0, True)), components)
    assert best == best_possible(protocol(dataset, latent_dim=5, **linear(0.25)), components)


@pytest.mark.parametrize(
    "made",
    [
        protocol(LinearGaussian(), latent_dim=10, **linear(1.0, True)),
        protocol(LinearGaussian()),
        spec().protocol,
        spec(dataset="of another plugin").protocol,
        spec(dataset=Choice(name="linear-gaussian", version=99)).protocol,
        spec(dataset=Choice(name="linear-gaussian", params={"gone": 1})).protocol,
    ],
    ids=["no maximum", "another decoder", "real data", "no plugin", "another version", "other parameters"],
)
def test_nothing_is_known(made, components):
    assert best_possible(made, components) == {}


def test_other_generated_datasets_give_their_truth():
    class Coin(Generated):
        """A fair one."""

        name = "coin"

        def load(self, folder):
            raise NotImplementedError

        def truth(self):
            return {"entropy": Estimate(math.log(2)), "mutual-information": Estimate(0.0, 0.01)}

    best = Coin().best_possible(None)
    assert best == {"iw_nll": (math.log(2), None), "mi_lower": (0.0, 0.01), "mi_upper": (0.0, 0.01)}


def test_it_is_the_last_row_and_never_the_best():
    for shown in (board(), *order([board()], "iw_nll"), *order([board()], "mi_lower")):
        text = render([shown], "table")
        lines = [line.split() for line in text.splitlines()]
        first = next(i for i, line in enumerate(lines) if line[:2] == ["best", "possible"])
        assert lines[first] == ["best", "possible", "20", "2.00", "±", "0.20"]
        assert lines[first - 1][0] in {"vae", "skip"}


def test_distances_have_their_own_table():
    text = render([board()], "markdown")
    assert "**Against the best possible**" in text
    assert "regret of IW-NLL [nats] ↓" in text
    skip = next(line for line in text.split("Against the")[1].splitlines() if line.startswith("| skip"))
    assert [cell.strip() for cell in skip.split("|")[2:4]] == ["1.2 ± 3.2", "100 ± 640"]
    assert text.count("The best possible is what the best model") == 1


@pytest.mark.parametrize("format_", FORMATS)
def test_every_format_has_it_or_not(format_):
    assert ("best possible" in render([board()], format_) or format_ == "json") is True
    without = render([board(reference={})], format_)
    assert "best possible" not in without
    assert "regret of" not in without


def test_only_shown_columns_are_compared():
    (chosen,) = select([board()], ["mi_lower"])
    text = render([chosen], "markdown")
    assert "regret of" not in text
    assert "I(x; z) [%]" in text
    (neither,) = select([board()], ["parameters"])
    assert "best possible" not in render([neither], "markdown")


def test_exports_hold_full_precision():
    lines = list(csv.DictReader(io.StringIO(render([board()], "csv"))))
    rows = {row["column"]: row for row in lines if row["contender"] == "best possible"}
    assert set(rows) == {"iw_nll", "mi_lower"}
    assert float(rows["mi_lower"]["mean"]) == 2.0
    assert rows["mi_lower"]["seed 1"] == rows["mi_lower"]["n"] == ""
    assert None not in rows["mi_lower"]
    (shown,) = json.loads(render([board()], "json"))["boards"]
    assert shown["best_possible"]["mi_lower"] == {"value": 2.0, "standard_error": 0.1}
    assert set(shown["best_possible"]) == {"iw_nll", "mi_lower"}
    skip = next(row for row in shown["rows"] if row["contender"] == "skip")
    assert skip["regret"]["mean"] == pytest.approx(1.25)
    assert skip["information_percent"]["mean"] == pytest.approx(100)
    (without,) = json.loads(render([board(reference={})], "json"))["boards"]
    assert without["best_possible"] == {}
    assert without["rows"][0]["regret"] is None


def test_the_command_shows_it(command, tmp_path):
    made = protocol(SyntheticText(**SMALL))
    fields = {"dataset": made.dataset, "setting": made.setting}
    with Store.open(tmp_path / "runs.sqlite") as store:
        store.add([run("vae", 1, 22.0, 0.5, protocol=fields), run("skip", 1, 21.0, 1.0, protocol=fields)])
    answer = command("leaderboard", "--store", tmp_path / "runs.sqlite", "--format", "json")
    assert (answer.code, answer.err) == (0, "")
    (shown,) = json.loads(answer.out)["boards"]
    truth = SyntheticText(**SMALL).truth()
    assert shown["best_possible"]["iw_nll"]["value"] == truth["entropy"].value
    assert shown["rows"][0]["regret"]["mean"] == pytest.approx(22 - truth["entropy"].value)


def test_it_needs_no_torch(tmp_path):
    made = protocol(LinearGaussian(), **linear())
    with Store.open(tmp_path / "runs.sqlite") as store:
        store.add([run("vae", 1, 22.0, 0.5, protocol={"dataset": made.dataset, "setting": made.setting})])
    code = (
        "import sys\nfrom collapsebench.cli import cli\n"
        f"cli.main(['leaderboard', '--store', {str(tmp_path / 'runs.sqlite')!r}], standalone_mode=False)\n"
        "sys.exit('torch' in sys.modules)"
    )
    shown = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=tmp_path)
    assert "best possible" in shown.stdout
