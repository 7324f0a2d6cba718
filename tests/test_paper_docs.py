"""docs/paper.md names suites, variants, contenders, files and discrepancies as they are."""

from __future__ import annotations

import math
import re
import shlex
from itertools import pairwise
from pathlib import Path

import pytest
import tiny

from collapsebench.components import discovery
from collapsebench.examples import ImageSpec
from collapsebench.experiment import suites
from collapsebench.facts import dataset_names
from collapsebench.networks.decoders import MLPDecoder
from collapsebench.published import publication
from collapsebench.syntax import parse_setting
from collapsebench_sa_vae import SAVAE
from collapsebench_skip import Skip

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "docs" / "paper.md").read_text(encoding="utf-8")
COMMANDS = [shlex.split(line) for line in re.findall(r"^    (collapsebench .*)$", TEXT, re.MULTILINE)]
MODULES = sorted(set(re.findall(r"`((?:\w+/)*\w+\.py)`", TEXT)))
VECTORS = {path.stem for path in (ROOT / "tests" / "golden" / "vectors").glob("*.npz")}


def table(heading):
    """The rows of the first table below a heading, as cells without backticks; its head and rule are left out."""
    below = TEXT[TEXT.index(f"\n{heading}\n") :]
    lines = re.search(r"(?:^\|.*\n)+", below, re.MULTILINE).group().splitlines()
    return [[cell.strip().replace("`", "") for cell in line.strip("|").split("|")] for line in lines[2:]]


def given(arguments, option):
    """The values of an option in a command."""
    return [value for name, value in pairwise(arguments) if name == option]


def variants(suite):
    """Those of its scales."""
    return {name for scale in ("paper", "small") for name in suites.suite(suite).known_variants(scale)}


def test_the_suites_are_those_of_the_paper_with_their_hours():
    names = [name for name in suites.suite_names() if name.startswith("dieng-2019/")]
    hours = {name: [f"{suites.suite(name).scales[scale].hours:.12g}" for scale in ("paper", "small")] for name in names}
    assert {name: [paper, small] for name, _, paper, small, _ in table("## Suites")} == hours


@pytest.mark.parametrize("row", table("## Suites"), ids=lambda row: row[0])
def test_every_variant_is_listed(row):
    assert set(re.findall(r"[\w-]+(?=,|$| \()", row[-1])) == variants(row[0])


def test_every_suite_has_a_row_of_evidence():
    named = {f"dieng-2019/{row[0]}" for row in table("## Evidence")}
    assert named == {row[0] for row in table("## Suites")}


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_commands_name_contenders_and_suites_that_exist(command):
    components = discovery.load()
    assert all(components.contender(written)[1] for written in given(command, "--method"))
    assert {word for word in command if word.startswith("dieng-2019/")} <= set(suites.suite_names())
    assert set(given(command, "--dataset")) <= set(dataset_names())


@pytest.mark.parametrize("module", MODULES)
def test_every_module_named_is_there(module):
    assert any((folder / module).is_file() for folder in (ROOT, ROOT / "collapsebench"))


@pytest.mark.parametrize("link", sorted(set(re.findall(r"\]\(([^)#]+)\)", TEXT))))
def test_every_link_leads_somewhere(link):
    assert (ROOT / "docs" / link).exists()


def test_every_variant_named_is_one():
    known = {variant for row in table("## Suites") for variant in variants(row[0])}
    assert set(re.findall(r"[Vv]ariant `([^`]+)`", TEXT)) <= known


def test_discrepancies_are_numbered_through():
    rows = table("## Where the paper and its program differ")
    assert [row[0] for row in rows] == [*map(str, range(1, 27)), "26b", "27", "28"]
    assert all(len(row) == 6 for row in rows)


def test_golden_cases_and_tests_named_are_there():
    section = TEXT[TEXT.index("**Pinned by**") :]
    source = (ROOT / "tests" / "golden" / "test_golden_svi.py").read_text(encoding="utf-8")
    assert set(re.findall(r"`(test_\w+)`", section)) <= set(re.findall(r"^def (test_\w+)", source, re.MULTILINE))
    kinds, clips = ("text", "text_skip", "img", "img_skip"), ("clip0", "clip5")
    assert {f"savae_{kind}_{clip}" for kind in kinds for clip in clips} | {"savae_text_lr_clip0"} <= VECTORS
    assert {f"svi_text_{mode}" for mode in ("kl1", "kl0", "free")} <= VECTORS


@pytest.mark.parametrize("row", table("## SA-VAE's gradient and its clipping"), ids=lambda row: row[0])
def test_defaults_of_sa_vae(row):
    name, written, _ = row
    default = SAVAE.model_fields[name].default
    shown = written.split(",")[0]
    assert shown == default if isinstance(default, str) else float(shown) == default


def gains(table_name, *, dataset):
    """KL of SKIP-VAE minus that of VAE, as the page writes it, in the order of the published rows."""
    rows = [row for row in publication("dieng-2019").table(table_name) if row.setting["dataset"] == dataset]
    pairs = zip(rows[::2], rows[1::2], strict=True)
    differences = [skip.values["kl"].value - vae.values["kl"].value for vae, skip in pairs]
    return ", ".join(f"{difference:+.2f}" for difference in differences).replace("-", "−")


@pytest.mark.parametrize(
    ("table_name", "dataset"), [("Table 2", "mnist"), ("Table 2", "omniglot-burda"), ("Table 3", "mnist")]
)
def test_printed_gains_in_kl(table_name, dataset):
    assert gains(table_name, dataset=dataset) in " ".join(TEXT.split())


def test_likelihoods_from_perplexities():
    published = {(row.label, row.setting.get("latent_dim")): row for row in publication("dieng-2019").table("Table 4")}
    for label, units, perplexity, nll, gap in table("### (ii) The likelihood is not worse"):
        row = published[label, int(units) if units.isdigit() else None]
        implied = row.tokens * math.log(row.values["perplexity"].value)
        assert (float(perplexity), float(nll)) == (row.values["perplexity"].value, round(implied, 1))
        if gap:
            assert float(gap) == abs(round(row.values["neg_elbo"].value - implied, 1))


def decoder_parameters(hidden, layers, connect=tiny.unconnected):
    """How many a decoder of track paper-mlp has."""
    decoder = MLPDecoder(hidden=hidden, layers=layers).build(ImageSpec((1, 28, 28)), 50, connect)
    return sum(parameter.numel() for parameter in decoder.parameters())


@pytest.mark.parametrize("scale", ["paper", "small"])
def test_widths_of_the_equal_parameter_baseline(scale):
    """The fewest units with which the plain decoder has as many parameters as Skip's with 512."""
    cells = suites.suite("dieng-2019/equal-parameters").cells(scale)
    asked = [dict(map(parse_setting, cell.settings)) for cell in cells]
    wide = [(each["decoder.layers"], each["decoder.hidden"]) for each in asked if "decoder.hidden" in each]
    rows = []
    for layers, hidden in wide:
        skip = decoder_parameters(512, layers, Skip().connect_latent)
        assert decoder_parameters(hidden - 1, layers) < skip
        rows.append([str(layers), str(hidden), f"{decoder_parameters(hidden, layers) - skip:,}"])
    assert table("### (iv) The effect is not one of more parameters") == rows


def test_parameters_that_skip_adds():
    added = decoder_parameters(512, 2, Skip().connect_latent) - decoder_parameters(512, 2)
    assert f"{added:,} for two hidden layers of 512 units" in " ".join(TEXT.split())
