"""Suites: declared grids, complete and valid, and what a cell asks for."""

from __future__ import annotations

import pytest
import tiny

from collapsebench.components import discovery
from collapsebench.errors import UsageError
from collapsebench.examples import ImageSpec
from collapsebench.experiment import suites
from collapsebench.experiment.planning import Request
from collapsebench.facts import dataset_facts
from collapsebench.networks.decoders import MLPDecoder
from collapsebench.published import publication
from collapsebench.syntax import parse_setting
from collapsebench_plugins.skip import Skip

ALL = [(name, scale) for name in suites.suite_names() for scale in suites.suite(name).scales]
TABLES = [f"dieng-2019/{name}" for name in ("table-1", "table-2", "table-3", "table-4", "probe")]
CELLS = [(name, scale, cell) for name, scale in ALL for cell in suites.suite(name).scales[scale].cells]

TOY = """
title = "Noise"
source = "nowhere"
follows = "nobody"

[variants.deep]
description = "two layers"
settings = ["decoder.layers=2"]

[variants.annealed]
description = "with KL annealing"
contenders = { VAE = "kl-annealing" }

[scales.toy]
description = "seconds"
hours = 0.01
dataset = "toy"
track = "quick"
settings = ["decoder.hidden=5", "decoder.layers=3"]
contenders = { VAE = "vae", SKIP-VAE = "skip" }
cells = [
    { name = "one", settings = ["decoder.layers=1"] },
    { name = "wide", budget = "5steps", contenders = { SKIP-VAE = "skip" } },
]

[scales.toy.variants.short]
description = "four steps"
budget = "4 steps"
"""


@pytest.fixture(scope="module")
def components():
    return discovery.load()


@pytest.fixture
def toy(tmp_path):
    """A suite in a file of the user's."""
    path = tmp_path / "toy.toml"
    path.write_text(TOY)
    return suites.suite(str(path))


def test_the_suites_of_the_paper_are_there_at_both_scales():
    assert [name for name in suites.suite_names() if name.startswith("dieng-2019/")] == [
        "dieng-2019/equal-parameters",
        "dieng-2019/figure-1-right",
        "dieng-2019/figure-2",
        "dieng-2019/probe",
        "dieng-2019/table-1",
        "dieng-2019/table-2",
        "dieng-2019/table-3",
        "dieng-2019/table-4",
    ]
    assert {scale for _, scale in ALL} == {"paper", "small"}
    assert sum(name.startswith("dieng-2019/") for name, _ in ALL) == 2 * 8


@pytest.mark.parametrize(("name", "scale"), ALL)
def test_every_cell_names_what_there_is(name, scale):
    suite = suites.suite(name)
    components = suite.catalog()
    for variants in ((), *((each,) for each in suite.known_variants(scale))):
        for cell in suite.cells(scale, variants):
            assert cell.track in dataset_facts(cell.dataset).tracks
            for contender in cell.contenders.values():
                components.contender(contender)


@pytest.mark.parametrize(("name", "scale", "cell"), CELLS, ids=lambda value: getattr(value, "name", value))
def test_every_contender_of_a_published_table_has_its_row(name, scale, cell):
    table = suites.suite(name).published
    if table is None or cell.published is None:
        assert cell.published is None
        return
    rows = publication(table.publication).table(table.table)
    for model in cell.contenders:
        fitting = [row for row in rows if row.label == model and cell.published.items() <= row.setting.items()]
        unprinted = scale == "small" and model == "VAE of 64 units"
        assert len(fitting) == (0 if unprinted else 1), (cell.name, model)


@pytest.mark.parametrize("name", TABLES)
def test_the_paper_scale_is_the_whole_published_table(name):
    suite = suites.suite(name)
    rows = publication(suite.published.publication).table(suite.published.table)
    asked = [(model, cell.published or {}) for cell in suite.scale("paper").cells for model in cell.contenders]
    for row in rows:
        assert any(row.label == model and where.items() <= row.setting.items() for model, where in asked), row
    assert suite.scale("paper").departs == ""
    assert suite.scale("small").departs


def test_a_cell_has_what_stands_beside_it_and_its_own(toy):
    one, wide = toy.cells("toy")
    assert one.settings == ("decoder.hidden=5", "decoder.layers=1")
    assert one.contenders == {"VAE": "vae", "SKIP-VAE": "skip"}
    assert wide.contenders == {"SKIP-VAE": "skip"}
    assert wide.request((1, 2)) == Request(
        methods=("skip",),
        dataset="toy",
        budget="5steps",
        seeds=(1, 2),
        settings=("decoder.hidden=5", "decoder.layers=3"),
        baseline=False,
        name="wide",
    )


def test_variants_replace_settings_and_contenders_the_later_on_top(toy):
    one, wide = toy.cells("toy", ("deep", "annealed"))
    assert one.settings == ("decoder.hidden=5", "decoder.layers=2")
    assert one.contenders == {"VAE": "kl-annealing", "SKIP-VAE": "skip"}
    assert wide.contenders == {"SKIP-VAE": "skip"}
    assert [cell.budget for cell in toy.cells("toy", ["short", "deep"])] == ["4steps", "4steps"]
    assert toy.cells("toy", ()) == toy.scale("toy").cells


def test_a_suite_survives_its_own_json(toy):
    assert suites.Suite.model_validate_json(toy.model_dump_json()) == toy


@pytest.mark.parametrize(
    ("asked", "complaint"),
    [
        (lambda toy: suites.suite("dieng-2019/table-33"), "unknown suite .* Did you mean 'dieng-2019/table-3'"),
        (lambda toy: suites.suite("none.toml"), "cannot read the suite file 'none.toml'"),
        (lambda toy: toy.scale("toi"), "suite 'toy': unknown scale 'toi'. Did you mean 'toy'"),
        (lambda toy: toy.cells("toy", ["deeep"]), "suite 'toy': unknown variant 'deeep'. Did you mean 'deep'"),
    ],
)
def test_unknown_names_are_answered_with_the_known_ones(toy, asked, complaint):
    with pytest.raises(UsageError, match=complaint):
        asked(toy)


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ('track = "quick"', "", "cells.0.track: Field required"),
        ('dataset = "toy"', 'datasets = "toy"', "Field required|datasets"),
        ('"wide"', '"one"', "two cells are called 'one'"),
        ('"5steps"', '"many"', "cannot read budget 'many'"),
        ('"decoder.layers=1"', '"decoder.layers"', "cannot read 'decoder.layers': expected '='"),
        ('"4 steps"', '"4"', "cannot read budget '4'"),
        ("hours = 0.01", "hours = 0", "hours: Input should be greater than 0, got 0"),
        ('{ SKIP-VAE = "skip" } },', "{} },", "contenders: Dictionary should have at least 1 item"),
        ("[scales.toy", "[scale.toy", "unknown field 'scale'. Did you mean 'scales'?"),
        ('"5steps"', '"5steps", against = "won"', "'wide' is against an unknown cell 'won'. Did you mean 'one'"),
        ('"5steps"', '"5steps", against = "wide"', "'wide' is against an unknown cell 'wide'. Known: one"),
        ('"5steps"', '"5steps", against = "one"', "against 'one' of another dataset, track or budget"),
    ],
)
def test_a_bad_suite_file_is_one_line(tmp_path, old, new, complaint):
    path = tmp_path / "bad.toml"
    assert old in TOY
    path.write_text(TOY.replace(old, new))
    with pytest.raises(UsageError, match=complaint) as caught:
        suites.suite(str(path))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("module", ["os.path..", "os.path.join.x", "", ".x", "no_such.module", "sys"])
def test_a_module_that_is_none_is_one_line(command, tmp_path, module):
    (tmp_path / "own.toml").write_text(f'modules = ["{module}"]\n{TOY}')
    answer = command("suite", "run", tmp_path / "own.toml", "--scale", "toy", "--dry-run")
    assert (answer.code, answer.err.count("\n")) == (2, 1)
    assert f"the suite needs the module '{module}', which is not installed" in answer.err


def test_figures_share_the_runs_of_tables():
    """A figure is drawn from runs that a table has made, if its cells ask for the same."""

    def asked(name, scale):
        cells = suites.suite(f"dieng-2019/{name}").scales[scale].cells
        return {(cell.dataset, cell.track, cell.budget, frozenset(cell.settings)) for cell in cells}

    for scale in ("paper", "small"):
        assert asked("figure-1-right", scale) <= asked("table-2", scale)
    assert asked("figure-2", "small") <= asked("table-1", "small")
    assert asked("probe", "small") <= asked("table-1", "small") | asked("table-3", "small")


@pytest.mark.parametrize("scale", ["paper", "small"])
def test_skip_beside_a_wider_vae_is_skip_of_table_3(scale):
    """So that the runs of one are those of the other."""
    table = {cell.name: cell for cell in suites.suite("dieng-2019/table-3").cells(scale)}
    cells = {cell.name: cell for cell in suites.suite("dieng-2019/equal-parameters").cells(scale)}
    skips = {name: cell for name, cell in cells.items() if cell.against}
    assert skips.keys() == table.keys()
    for name, cell in skips.items():
        wide = cells[cell.against]
        assert (cell.base, set(cell.settings)) == (table[name].base, set(table[name].settings))
        assert cell.contenders["SKIP-VAE"] == table[name].contenders["SKIP-VAE"]
        assert (wide.base, wide.contenders) == (cell.base, {"wide VAE": table[name].contenders["VAE"]})
        (wider,) = set(wide.settings) - set(cell.settings)
        assert wider.startswith("decoder.hidden=")
        assert set(cell.settings) < set(wide.settings)


def decoder_parameters(hidden, layers, connect=tiny.unconnected):
    """How many a decoder of track paper-mlp has."""
    decoder = MLPDecoder(hidden=hidden, layers=layers).build(ImageSpec((1, 28, 28)), 50, connect)
    return sum(parameter.numel() for parameter in decoder.parameters())


@pytest.mark.parametrize("scale", ["paper", "small"])
def test_the_wide_vae_has_the_fewest_units_with_as_many_parameters_as_skip(scale):
    cells = suites.suite("dieng-2019/equal-parameters").cells(scale)
    asked = [dict(map(parse_setting, cell.settings)) for cell in cells]
    wide = [(each["decoder.hidden"], each["decoder.layers"]) for each in asked if "decoder.hidden" in each]
    assert len(wide) == 3
    for hidden, layers in wide:
        skip = decoder_parameters(512, layers, Skip().connect_latent)
        assert decoder_parameters(hidden - 1, layers) < skip <= decoder_parameters(hidden, layers)


def test_some_cells_by_name(toy):
    assert [cell.name for cell in toy.cells("toy", only=["wide"])] == ["wide"]
    with pytest.raises(UsageError, match=r"suite 'toy': unknown cell 'wild'. Did you mean 'wide'"):
        toy.cells("toy", only=["wide", "wild"])
