"""The report in a real browser: what readers do by mouse and by keyboard, and that the page asks for nothing."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from chromium import Browser, PageError, browser
from records import START, record

from collapsebench.estimates import Direction, Estimate
from collapsebench.record import Number, Outcome, Point, RunRecord, Value
from collapsebench.reporting.boards import boards
from collapsebench.reporting.report.content import content
from collapsebench.reporting.report.page import render
from collapsebench.reporting.running import RunningRun
from collapsebench.reporting.samples import Part, Samples, Specimen
from collapsebench.store import Store

HEADS = {
    "neg_elbo": ("elbo", "−ELBO", Direction.LOWER),
    "reconstruction": ("elbo", "Rec", Direction.NONE),
    "iw_nll": ("iw-nll", "IW-NLL", Direction.LOWER),
    "kl": ("kl", "KL", Direction.NONE),
    "mi_lower": ("mutual-information", "MI ≥", Direction.HIGHER),
    "ess": ("iw-nll", "ESS", Direction.NONE),
}
RATES = {"vae": 0.5, "skip": 9.0, "sa-vae": 4.0}
"""The KL of each contender. Information rises with it, and all that is better when low falls."""
ATTACK = "</script><img src=http://127.0.0.1/x onerror=alert(1)>"


def run(label: str, rate: float, seed: int) -> RunRecord:
    rate += seed / 10
    numbers = {"reconstruction": 99 - 2 * rate, "kl": rate, "mi_lower": rate / 2, "ess": 5.0}
    numbers |= {"neg_elbo": numbers["reconstruction"] + rate, "iw_nll": 98 - 2 * rate}
    shown = [
        Value.of(metric, key, Estimate(numbers[key], 0.01), unit="nats", title=title, direction=direction, board=True)
        for key, (metric, title, direction) in HEADS.items()
    ]
    units = [Value.of("kl", f"kl[{unit}]", Estimate(rate / (unit + 1))) for unit in range(2)]
    points = tuple(
        Point(
            counters={"steps": step, "flops": 1e9 * step, "seconds": step / 50},
            values={"neg_elbo": Number.of(150 - rate - step / 10), "kl": Number.of(rate * step / 350)},
            selected=step == 350,
        )
        for step in (50, 150, 250, 350)
    )
    return record(label, seed, values=(*shown, *units), points=points)


@pytest.fixture(scope="module")
def page(tmp_path_factory) -> Path:
    """A report of three contenders; one of them has a run that goes on, and one that failed with a hostile message."""
    folder = tmp_path_factory.mktemp("report")
    with Store.open(folder / "runs.sqlite") as store:
        store.add(run(label, rate, seed) for label, rate in RATES.items() for seed in (1, 2, 3))
        begun = RunRecord.started(record("free-bits", 1).spec, START + timedelta(hours=1), {})
        store.add([begun])
        store.add([record("free-bits", 2, outcome=Outcome.FAILED, message=ATTACK)])
        made = [samples("vae", "the the", "the the"), samples("skip", "a", ATTACK)]
        going_on = [RunningRun(begun.run_id, begun.protocol_id, "free-bits", 1, 0.47, 1.0)]
        shown = render(content(store, boards(store), samples=made, running=going_on))
    (folder / "report.html").write_text(shown, encoding="utf-8")
    return folder / "report.html"


def samples(label: str, *texts: str) -> Samples:
    """Two texts and an image that the model of a contender made."""
    image = np.tile(np.linspace(0, 1, 4, dtype=np.float32), (1, 4, 1))
    contents = [("one", texts[0]), ("two", texts[1]), ("image", image)]
    groups = tuple((Specimen(caption, each, Part.MODEL),) for caption, each in contents[: 2 if label == "vae" else 3])
    return Samples(run(label, RATES[label], 1).run_id, label, 1, "digits", "2 codes of the prior", groups)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browser() as opened:
        yield opened


@pytest.fixture
def opened(chromium, page) -> Iterator[Browser]:
    """The page as a reader opens it. After each test it must have asked for nothing, and complained of nothing."""
    chromium.media()
    chromium.resize(1280, 900)
    chromium.go(page)
    chromium.wait("document.querySelectorAll('.board tbody tr').length > 0")
    yield chromium
    assert chromium.requests() == []
    assert chromium.complaints() == []


def labels(page: Browser) -> list[str]:
    return page.texts(".board tbody th button")


def column(title: str) -> str:
    """The selector of the head of a column, by its title."""
    place = next(place for place, (_, own, _) in enumerate(HEADS.values()) if own == title)
    return f".board th[data-column='{place}']"


def cell(page: Browser, label: str, title: str) -> str:
    """The selector of the button of a cell, by its contender and the title of its column."""
    place = next(place for place, text in enumerate(page.texts(".board thead th")) if title in text)
    return f".board tbody tr:nth-child({labels(page).index(label) + 1}) > :nth-child({place + 1}) button"


OPTIONS = "document.querySelectorAll('.option')"


def is_open(page: Browser) -> bool:
    return page.run("document.querySelector('dialog').open")


def to_the_figures(page: Browser) -> None:
    """Figures are drawn when they come near."""
    page.scroll_to(".figures")
    page.wait("document.querySelectorAll('figure svg .series').length > 0")


def test_it_shows_the_board_and_its_figures(opened):
    assert opened.run("document.title") == "collapsebench report"
    assert labels(opened) == ["vae", "skip", "sa-vae", "free-bits"]
    to_the_figures(opened)
    planes = ["Rate and distortion", "Likelihood and information", "Spectrum of the units"]
    assert opened.texts("figcaption strong") == [*planes, "valid −ELBO", "valid KL"]


def test_it_counts_what_became_of_the_runs(opened):
    assert "11 runs: 1 still running, 9 finished, 1 failed" in opened.text("section > .where")


def test_a_column_sorts_the_best_first_and_then_the_other_way(opened):
    sorting = f"document.querySelector(\"{column('IW-NLL')}\").getAttribute('aria-sort')"
    for click, order, sorted_ in (
        ("IW-NLL", ["skip", "sa-vae", "vae"], "ascending"),
        ("IW-NLL", ["vae", "sa-vae", "skip"], "descending"),
        ("MI ≥", ["skip", "sa-vae", "vae"], "none"),
    ):
        opened.click(f"{column(click)} button")
        assert labels(opened) == [*order, "free-bits"]
        assert opened.run(sorting) == sorted_
    opened.press("Enter")
    assert labels(opened) == ["vae", "sa-vae", "skip", "free-bits"]


def test_names_and_numbers_of_seeds_sort_the_board_too(opened):
    opened.click(".board th[data-column='-1'] button")
    assert labels(opened) == ["free-bits", "sa-vae", "skip", "vae"]
    opened.click(".board th[data-column='-2'] button")
    assert labels(opened)[0] == "free-bits"
    opened.click(".board th[data-column='-2'] button")
    assert labels(opened)[-1] == "free-bits"


def test_words_filter_the_board_and_the_figures(opened):
    to_the_figures(opened)
    before = opened.count("figure .series")
    opened.click("input[type=search]")
    opened.type("SKIP sa-")
    assert labels(opened) == ["skip", "sa-vae"]
    assert opened.text(".status") == "2 of 4 contenders"
    assert 0 < opened.count("figure .series") < before


def test_the_reader_picks_columns_and_escape_closes_the_picker(opened):
    shown = opened.texts(".board thead .title")
    assert "ESS" not in shown
    opened.click(".menu summary")
    place = next(place for place, text in enumerate(opened.texts(".menu label")) if text.startswith("ESS"))
    opened.click(f".menu label:nth-of-type({place + 1}) input")
    assert set(opened.texts(".board thead .title")) == {*shown, "ESS"}
    opened.press("Escape")
    assert not opened.run("document.querySelector('.menu').open")
    assert opened.run("document.activeElement.textContent") == "Columns"


def test_differences_to_the_baseline_are_another_view_of_the_board(opened):
    opened.choose(".tools select", "differences")
    own = cell(opened, "skip", "IW-NLL")
    assert opened.text(own).startswith("−17")
    assert opened.run(f"document.querySelector('{own}').closest('td').className") == "number decided better"


def test_a_number_opens_its_evidence_by_mouse(opened):
    opened.click(cell(opened, "skip", "IW-NLL"))
    assert is_open(opened)
    text = opened.text("dialog")
    ids = [run("skip", RATES["skip"], seed).run_id for seed in (1, 2, 3)]
    shows = [f"collapsebench runs show {own}" for own in ids]
    for part in (*ids, *shows, "metric iw-nll: samples 5", "0.01", "−17", "79.8", "--method skip"):
        assert part in text
    opened.press("Escape")
    assert not is_open(opened)


@pytest.mark.parametrize("width", [400, 700, 1280])
def test_no_line_of_a_command_ends_within_the_hyphens_of_an_option(opened, width):
    opened.resize(width, 900)
    opened.click(cell(opened, "skip", "IW-NLL"))
    options = [opened.run(f"{OPTIONS}[{place}].getClientRects().length") for place in range(opened.count(".option"))]
    assert len(options) > 5
    assert set(options) <= {0, 1}
    assert opened.text("dialog pre").startswith("collapsebench run --dataset digits --track quick --budget ")
    opened.press("Escape")


def test_a_setting_that_tells_boards_apart_is_said_once(chromium, tmp_path):
    usual = record("vae").spec.protocol.setting
    apart = [
        {"setting": usual.model_copy(update={"latent_dim": units}), "overrides": {"latent_dim": units, "batch_size": 7}}
        for units in (2, 3)
    ]
    with Store.open(tmp_path / "runs.sqlite") as store:
        store.add(record("vae", protocol=protocol) for protocol in apart)
        (tmp_path / "report.html").write_text(render(content(store, boards(store))), encoding="utf-8")
    chromium.go(tmp_path / "report.html")
    chromium.wait("document.querySelectorAll('.board tbody tr').length > 1")
    names, settings = chromium.texts("section h2"), chromium.texts("section > .where")
    assert sorted(name.rpartition(" · ")[2] for name in names) == ["latent_dim 2", "latent_dim 3"]
    assert all("batch_size 7" in text and "latent_dim" not in text for text in settings)
    assert all(text.endswith("· 1 run, finished") for text in settings)
    chromium.click(".board tbody td:nth-child(3) button")
    assert chromium.text("dialog .where").count("latent_dim") == 1


def test_a_number_opens_its_evidence_by_keyboard(opened):
    opened.focus(".board thead th:last-child button")
    opened.press("Tab")
    assert opened.run("document.activeElement.textContent") == "vae"
    for key in ("ArrowDown", "ArrowDown", "ArrowRight", "ArrowRight"):
        opened.press(key)
    assert opened.run("document.activeElement.closest('tr').rowIndex") == 3
    opened.press("Enter")
    assert is_open(opened)
    assert opened.text("dialog h2") == "sa-vae · IW-NLL"
    opened.press("Escape")
    assert not is_open(opened)
    assert opened.run("document.activeElement.closest('tr').rowIndex") == 3


def test_samples_show_whether_a_model_makes_the_same_of_all_codes(opened):
    opened.scroll_to(".samples")
    assert opened.texts(".specimens summary strong") == ["vae", "skip"]
    assert [text.rpartition("; ")[2] for text in opened.texts(".specimens summary")] == [
        "all are equal",
        "3 of 3 differ",
    ]
    assert opened.texts(".specimens dd") == ["the the", "the the", "a", ATTACK]
    opened.wait("document.querySelector('.specimens img').complete")
    assert opened.run("document.querySelector('.specimens img').naturalWidth") == 4


def test_runs_that_go_on_or_failed_are_marked_and_their_messages_stay_texts(opened):
    assert opened.texts(".badge") == ["1 running, 47%", "1 failed"]
    opened.click(cell(opened, "free-bits", "contender"))
    assert ATTACK in opened.text("dialog")
    assert "running, 47%" in opened.text("dialog")
    assert opened.count("dialog img") == 0
    opened.press("Escape")


def test_a_point_tells_what_it_is_under_the_pointer_and_opens_its_evidence(opened):
    to_the_figures(opened)
    opened.scroll_to("figure")
    opened.hover(*opened.middle("figure .series:nth-last-of-type(2) .mark"))
    assert opened.texts("figure .tip:not([hidden]) strong") == ["skip"]
    assert "KL [nats]: 9.2 ± 0.25" in opened.text("figure .tip")
    opened.hover(2, 2)
    assert opened.count("figure .tip:not([hidden])") == 0
    opened.click("figure .series:last-of-type .mark")  # what is pointed at comes to the front
    assert opened.text("dialog h2") == "skip"
    opened.press("Escape")


def test_arrow_keys_walk_through_a_plot(opened):
    to_the_figures(opened)
    opened.focus("figure svg")
    found = []
    for key in ("ArrowRight", "ArrowRight", "ArrowLeft"):
        opened.press(key)
        found += opened.texts("figure .tip:not([hidden]) strong")
    assert found == ["vae", "skip", "vae"]
    opened.press("Enter")
    assert opened.text("dialog h2") == "vae"
    opened.press("Escape")
    assert not is_open(opened)


def test_every_figure_is_a_table_too(opened):
    to_the_figures(opened)
    opened.click("figure .data summary")
    opened.wait("document.querySelector('figure .data table') !== null")
    assert opened.texts("figure .data tbody th") == ["vae", "skip", "sa-vae"]
    assert opened.texts("figure .data tbody td:nth-child(2)") == ["0.7", "9.2", "4.2"]
    assert opened.texts("figure .data tbody td:nth-child(3)") == ["97.6", "80.6", "90.6"]


def test_trajectories_are_drawn_over_the_counter_that_is_chosen(opened):
    to_the_figures(opened)
    assert opened.texts(".trajectories .label:nth-last-of-type(2)") == ["steps", "steps"]
    opened.choose(".trajectories select", "flops")
    assert opened.texts(".trajectories .label:nth-last-of-type(2)") == ["flops [FLOP]", "flops [FLOP]"]
    assert opened.count(".trajectories .line") == 2 * 3 * len(RATES)


def test_a_contender_is_hidden_in_all_figures(opened):
    to_the_figures(opened)
    before = opened.count("figure .series")
    opened.click(".chip:nth-of-type(3)")
    assert opened.run("document.querySelector('.chip:nth-of-type(3)').getAttribute('aria-pressed')") == "false"
    assert opened.count("figure .series") == before - (1 + 1 + 3 + 3 + 3)


BACKGROUND = "getComputedStyle(document.body).backgroundColor"


def test_it_is_dark_if_the_system_is_and_a_button_changes_it(opened):
    light = opened.run(BACKGROUND)
    opened.media(scheme="dark")
    dark = opened.run(BACKGROUND)
    assert dark != light
    opened.click(".theme")
    assert opened.run(BACKGROUND) == light
    opened.click(".theme")
    assert opened.run(BACKGROUND) == dark


@pytest.mark.parametrize("width", [400, 1280])
def test_the_page_never_scrolls_sideways(opened, width):
    opened.resize(width, 900)
    to_the_figures(opened)
    assert opened.run("document.documentElement.scrollWidth") == width
    opened.click(cell(opened, "skip", "KL"))
    left, _, wide, _ = opened.box("dialog")
    assert 0 <= left < left + wide <= width
    opened.press("Escape")


def test_a_narrow_board_scrolls_under_its_first_column(opened):
    opened.resize(400, 900)
    opened.run("document.querySelector('.board-scroll').scrollLeft = 200")
    assert opened.run("document.querySelector('.board-scroll').scrollLeft") == 200
    assert opened.box(".board tbody th")[0] - opened.box(".board-scroll")[0] == 1  # the width of the border


def test_it_prints_its_boards_and_figures_without_controls(opened):
    assert opened.pdf().startswith(b"%PDF")
    assert opened.count("figure .series") > 0
    opened.media(kind="print")
    seen = "Array.from(document.querySelectorAll({}), (each) => each.checkVisibility())"
    assert not any(opened.run(seen.format("'.tools, .theme, .data'")))
    assert all(opened.run(seen.format("'.board, figure svg, .notes li'")))


def test_every_control_has_a_name_and_every_table_a_caption(opened):
    to_the_figures(opened)
    nodes = opened.call("Accessibility.getFullAXTree")["nodes"]
    roles = {"button", "link", "searchbox", "checkbox", "combobox", "table", "columnheader", "rowheader", "figure"}
    found = [
        (node["role"]["value"], node.get("name", {}).get("value", "")) for node in nodes if not node.get("ignored")
    ]
    assert {"button", "searchbox", "combobox", "table", "rowheader", "figure"} <= {role for role, _ in found}
    assert [role for role, name in found if role in roles and not name] == []


def test_a_request_is_refused_and_seen_by_this_test(chromium, page):
    """So that an empty list of requests and complaints means something."""
    chromium.go(page)
    with pytest.raises(PageError, match="Failed to fetch"):
        chromium.run("fetch('http://127.0.0.1:9/')")
    assert chromium.complaints()
    chromium.run(
        "document.body.append(Object.assign(document.createElement('img'), { src: 'http://127.0.0.1:9/x.png' }))"
    )
    chromium.wait("true")
    assert sum("Content Security Policy" in text for text in chromium.complaints()) >= 2
