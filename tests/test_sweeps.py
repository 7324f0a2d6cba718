"""Sweeps: `a[key=1|2]` is a contender for each value, whose label always has the value."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

import collapsebench
from collapsebench.components import discovery
from collapsebench.errors import UsageError
from collapsebench.experiment.planning import Request, SplitCache, plan
from collapsebench.experiment.suites import Cell
from collapsebench.syntax import BASELINE, MOST_SWEPT, Call, parse_composition, parse_sweep, print_call, print_value

CATALOG = discovery.load()
LINEAR = "linear-gaussian"


def labels(text):
    return [contender.label for contender in CATALOG.contenders(text)]


def planned(tmp_path, *methods):
    request = Request(methods=methods, dataset=LINEAR, budget="2steps", baseline=False)
    return plan([request], CATALOG, SplitCache(CATALOG, tmp_path)).specs


scalars = st.one_of(st.booleans(), st.none(), st.integers(), st.text(max_size=8), st.lists(st.integers(), max_size=2))
distinct_values = st.lists(scalars, min_size=1, max_size=3, unique_by=print_value)


@given(st.dictionaries(st.from_regex(r"[a-z_]{1,5}", fullmatch=True), distinct_values, max_size=3))
def test_a_sweep_is_the_product_of_its_alternatives(alternatives):
    written = ",".join(f"{key}={'|'.join(map(print_value, values))}" for key, values in alternatives.items())
    (read,) = parse_sweep(f"a[{written}]").calls
    wanted = [Call("a", dict(zip(alternatives, each, strict=True))) for each in product(*alternatives.values())]
    assert [print_call(*call) for call in read.calls()] == [print_call(*call) for call in wanted]
    assert read.swept == {key for key, values in alternatives.items() if len(values) > 1}


@pytest.mark.parametrize("text", ["skip", "skip+sa-vae[steps=2]", "free-bits[nats=2,per=unit]"])
def test_a_composition_is_a_sweep_of_one(text):
    assert [written.calls for written in parse_sweep(text).contenders()] == [parse_composition(text)]


def test_each_label_has_the_swept_value_also_where_it_is_the_default():
    assert labels("free-bits[nats=0.1|0.25|2]") == [f"free-bits[nats={nats}]" for nats in ("0.1", "0.25", "2.0")]
    assert labels("free-bits[nats=0.25]") == ["free-bits"]
    assert labels("skip+free-bits[per=unit|batch,nats=0.25]") == [
        f"skip+free-bits[per={per}]" for per in ("unit", "batch")
    ]
    assert labels("beta-vae[beta=0.4|1]+free-bits[nats=1|2]") == [
        f"beta-vae[beta={beta}]+free-bits[nats={nats}]" for beta, nats in product(("0.4", "1.0"), ("1.0", "2.0"))
    ]
    assert labels(BASELINE) == [BASELINE]


def test_a_swept_run_has_the_identity_of_the_run_that_is_written_alone(tmp_path):
    swept = planned(tmp_path, "free-bits[nats=0.25|2]")
    alone = [*planned(tmp_path, "free-bits"), *planned(tmp_path, "free-bits[nats=2]")]
    assert [spec.run_id for spec in swept] == [spec.run_id for spec in alone]


@pytest.mark.parametrize("methods", [("free-bits", "free-bits[nats=0.25|2]"), ("free-bits[nats=0.25|2]", "free-bits")])
def test_a_contender_that_is_written_twice_is_planned_once_under_the_name_that_says_more(methods, tmp_path):
    specs = planned(tmp_path, *methods)
    assert sorted(spec.contender.label for spec in specs) == ["free-bits[nats=0.25]", "free-bits[nats=2.0]"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("free-bits[nats=|2]", "cannot read 'free-bits[nats=|2]': expected a value, got '|2]'"),
        ("free-bits[nats=2|]", "cannot read 'free-bits[nats=2|]': expected a value, got ']'"),
        ("free-bits[nats=1||2]", "expected a value, got '|2]'"),
        ("free-bits[nats=1|2|1]", "cannot read 'free-bits[nats=1|2|1]': 'nats' has the alternative 1 twice"),
        ("free-bits[nats=1|1.0]", "'free-bits[nats=1|1.0]' has the contender 'free-bits[nats=1.0]' twice"),
        ("free-bits[nats=1|-1]", "method 'free-bits': nats: Input should be greater than or equal to 0, got -1"),
        ("free-bits|skip", "cannot read 'free-bits|skip': expected the end, got '|skip'"),
        ("vae[a=1|2]", "'vae' is the baseline without any method"),
        (f"free-bits[nats={'|'.join(map(str, range(MOST_SWEPT + 1)))}]", f"a sweep of {MOST_SWEPT + 1} contenders"),
    ],
)
def test_a_sweep_that_cannot_be_is_one_line(text, said):
    with pytest.raises(UsageError) as caught:
        labels(text)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_where_no_sweep_can_be_the_error_says_how_a_text_is_written():
    with pytest.raises(UsageError, match=r"a sweep is for the contenders of a run alone; a text with \| is written in"):
        parse_composition("free-bits[nats=1|2]")
    assert parse_composition('a[text="1|2"]') == [Call("a", {"text": "1|2"})]
    assert print_value("1|2") == '"1|2"'


def test_a_model_of_a_suite_is_one_for_each_contender():
    cell = Cell(
        name="cell", dataset=LINEAR, track="quick", contenders={"VAE": "vae", "FB": "free-bits[nats=0.25|2]+skip"}
    )
    assert cell.contenders == {
        "VAE": "vae",
        "FB[nats=0.25]": "free-bits[nats=0.25]+skip",
        "FB[nats=2]": "free-bits[nats=2]+skip",
    }


@pytest.mark.torch
def test_stored_runs_are_not_computed_again_and_share_a_row(tmp_path, command):
    store = str(tmp_path / "runs.sqlite")
    own = {"dataset": LINEAR, "budget": "2steps", "store": store, "progress": False, "baseline": False}
    (before,) = collapsebench.run(["free-bits"], **own)
    swept = collapsebench.run(["free-bits[nats=0.25|2]"], seeds=2, **own)
    assert (swept[0].run_id, swept[0].record) == (before.run_id, before.record)
    rows = collapsebench.board(dataset=LINEAR, columns=["kl"], store=store).render("markdown")
    assert "free-bits[nats=0.25]" in rows
    assert "free-bits[nats=2.0]" in rows
    assert "| free-bits |" not in rows
    planned = command(
        "run", "-m", "free-bits[nats=0.25|2|4]", "-d", LINEAR, "--budget", "2steps", "--dry-run", "--store", store
    )
    assert planned.code == 0
    assert [line.split()[1] for line in planned.out.splitlines() if "free-bits" in line] == [
        f"free-bits[nats={nats}]" for nats in ("0.25", "2.0", "4.0")
    ]
