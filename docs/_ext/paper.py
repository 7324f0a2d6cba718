"""The tables of docs/paper.md that are computed: from the registry, the printed numbers and the models.

The page calls a function between two marks, and cog writes what it returns below. `tox run -e docs -- -r` writes the
tables anew; without `-r`, and in the tests, a table that is not as computed is an error.
"""

import json
import math
from collections.abc import Iterable, Iterator, Sequence

from click.testing import CliRunner

from collapsebench import Connect, ImageSpec
from collapsebench.cli import cli
from collapsebench.experiment import suites
from collapsebench.networks.decoders import MLPDecoder
from collapsebench.published import PublishedRow, publication
from collapsebench.syntax import parse_composition, parse_setting, print_value
from collapsebench_plugins.skip import Skip

PAPER = "dieng-2019"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table between empty lines, so that every reader of Markdown takes it for one."""
    lines = [f"| {' | '.join(cells)} |" for cells in (head, *rows)]
    rule = "|" + "---|" * len(head)
    return "\n".join(["", lines[0], rule, *lines[1:], "", ""])


def gains() -> str:
    """How much larger the printed KL of SKIP-VAE is than that of VAE, by the layers of the decoder."""
    rows = [row for name in ("Table 2", "Table 3") for row in publication(PAPER).table(name)]
    pairs = list(zip(rows[::2], rows[1::2], strict=True))
    found = {(model(vae), vae.setting["decoder.layers"]): gain(vae, skip) for vae, skip in pairs}
    models = list(dict.fromkeys(model(vae) for vae, _ in pairs))
    depths = sorted({depth for _, depth in found})
    body = ([str(depth), *(found.get((each, depth), "") for each in models)] for depth in depths)
    return table(["layers", *models], body)


def model(row: PublishedRow) -> str:
    """What the rows of one depth differ in, as a head of a column."""
    return f"`{row.setting['dataset']}`, `{row.setting['decoder.name']}` ({row.table})"


def gain(vae: PublishedRow, skip: PublishedRow) -> str:
    """The difference of the printed KL, in nats."""
    return f"{skip.values['kl'].value - vae.values['kl'].value:+.2f}".replace("-", "−")


def likelihoods() -> str:
    """−log p(x) by the printed perplexities, in nats, and how far the printed −ELBO is above it."""
    rows = publication(PAPER).table("Table 4")
    head = ["model", "units", "PPL", f"{rows[0].tokens} ln PPL", "−ELBO minus that"]
    return table(head, map(likelihood, rows))


def likelihood(row: PublishedRow) -> list[str]:
    """The cells of one model; the language model has no units, and its likelihood is exact."""
    perplexity, bound = row.values["perplexity"], row.values.get("neg_elbo")
    nll = (row.tokens or math.nan) * math.log(perplexity.value)
    gap = "" if bound is None else f"{round(bound.value - nll, 1) + 0.0:.1f}"
    return [row.label, str(row.setting.get("latent_dim", "–")), f"{perplexity.value:.2f}", f"{nll:.1f}", gap]


def parameters() -> str:
    """Parameters that Skip adds to a decoder of track paper-mlp, and the plain decoder that has as many."""
    head = ["hidden layers", "parameters that Skip adds to 512 units"]
    head += ["units of the plain VAE", "parameters more than Skip"]
    settings = [cell.settings for cell in suites.suite(f"{PAPER}/equal-parameters").cells("paper")]
    wide = [values for values in map(numbers, settings) if "decoder.hidden" in values]
    return table(head, (compared(values["decoder.layers"], values["decoder.hidden"]) for values in wide))


def numbers(settings: Iterable[str]) -> dict[str, int]:
    """The settings whose values are whole numbers."""
    return {key: value for key, value in map(parse_setting, settings) if isinstance(value, int)}


def compared(layers: int, hidden: int) -> list[str]:
    """The cells of one depth."""
    skip = decoder_parameters(512, layers, Skip().connect_latent)
    added, more = skip - decoder_parameters(512, layers), decoder_parameters(hidden, layers) - skip
    return [str(layers), f"{added:,}", str(hidden), f"{more:,}"]


def decoder_parameters(hidden: int, layers: int, connect: Connect = lambda _: None) -> int:
    """How many a decoder of track paper-mlp has, for 50 latent units."""
    decoder = MLPDecoder(hidden=hidden, layers=layers).build(ImageSpec((1, 28, 28)), 50, connect)
    return sum(parameter.numel() for parameter in decoder.parameters())


def grids() -> str:
    """The suites of the paper with their hours and variants."""
    names = [name for name in suites.suite_names() if name.startswith(f"{PAPER}/")]
    return table(["suite", "what", "paper, hours", "small, hours", "variants"], map(grid, names))


def grid(name: str) -> list[str]:
    """The cells of one suite."""
    suite = suites.suite(name)
    hours = [f"{suite.scales[scale].hours:.12g}" for scale in ("paper", "small")]
    return [f"`{name}`", suite.title, *hours, ", ".join(variants(suite))]


def variants(suite: suites.Suite) -> Iterator[str]:
    """The variants of a suite; one that only one scale has says which."""
    paper, small = (suite.known_variants(scale) for scale in ("paper", "small"))
    for name in paper | small:
        scale = "" if name in paper and name in small else " (paper)" if name in paper else " (small)"
        yield f"`{name}`{scale}"


def defaults() -> str:
    """The parameters of SA-VAE beside what the variant `released-svi` of Table 4 sets."""
    answer = CliRunner().invoke(cli, ["methods", "sa-vae", "--json"], catch_exceptions=False)
    variant = suites.suite(f"{PAPER}/table-4").known_variants("small")["released-svi"]
    (released,) = parse_composition(variant.contenders["SA-VAE"])
    written = {name: f"`{print_value(value)}`" for name, value in released.params.items()}
    return table(
        ["parameter of `sa-vae`", "values", "default", "in `released-svi`"],
        (
            [
                f"`{each['name']}`",
                each["type"].replace("|", ", "),
                f"`{print_value(each['default'])}`",
                written.get(each["name"], ""),
            ]
            for each in json.loads(answer.stdout)[0]["parameters"]
        ),
    )
