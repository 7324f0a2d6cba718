// The table of a board: sorted by any column, filtered by words, with the columns and the view that the reader picks.

const [NAME, SEEDS] = [-1, -2];
const MEAN = 1;
const DIFFERENCE = 4;
const SCORE = /^(\S+)(?: ± (\S+)| (\[[^\]]*\]))?(?: (.*))?$/;
const DIFFERS = "≠"; // of all marks this one says nothing bad
const LONGEST = 5; // a number with more decimals than four does not make its whole column wide
const NUMBER = /^(?<sign>[+−]?)(?<whole>[\d,]+)(?<decimals>\.\d+)?(?<power>e[\d−-]+)?$/;

/** One board's table. `changed` is called with the rows that are shown after each change. */
class BoardTable {
  constructor(board, looks, open, changed) {
    Object.assign(this, { board, looks, open, changed });
    this.words = [];
    this.view = "scores";
    this.sorting = { column: null, descending: false };
    this.picked = new Set(board.columns.flatMap((column, place) => (column.shown ? [place] : [])));
    this.status = make("p", { class: "status", role: "status", "aria-live": "polite" });
    this.table = make("table", { class: "board" });
    this.element = make(
      "div",
      {},
      this.tools(),
      make("div", { class: "scroll board-scroll", role: "region", "aria-label": "Board", tabindex: 0 }, this.table),
    );
    this.table.addEventListener("keydown", (event) => this.walk(event));
    this.render();
  }

  tools() {
    const filter = make("input", {
      type: "search",
      placeholder: "skip, sa-vae …",
      oninput: (event) => {
        this.words = event.target.value
          .toLowerCase()
          .split(/[\s,]+/)
          .filter(Boolean);
        this.render();
      },
    });
    const tools = [make("label", { class: "field" }, make("span", {}, "Filter"), filter), this.picker()];
    if (this.board.against) tools.splice(1, 0, this.views());
    return make("div", { class: "tools" }, tools, this.status);
  }

  views() {
    const choose = (event) => {
      this.view = event.target.value;
      this.render();
    };
    return make(
      "label",
      { class: "field" },
      make("span", {}, "Show"),
      make(
        "select",
        { onchange: choose },
        make("option", { value: "scores" }, "scores"),
        make("option", { value: "differences" }, `paired differences to ${this.board.against}`),
      ),
    );
  }

  picker() {
    const toggle = (place) => (event) => {
      this.picked[event.target.checked ? "add" : "delete"](place);
      this.render();
    };
    const boxes = this.board.columns.map((column, place) =>
      make(
        "label",
        {},
        make("input", { type: "checkbox", checked: this.picked.has(place), onchange: toggle(place) }),
        make("span", {}, column.head),
      ),
    );
    const menu = make(
      "details",
      { class: "menu" },
      make("summary", {}, "Columns"),
      make("fieldset", {}, make("legend", {}, "Columns of the board"), boxes),
    );
    menu.addEventListener("keydown", (event) => {
      if (event.key === "Escape" && menu.open) {
        menu.open = false;
        menu.querySelector("summary").focus();
      }
    });
    document.addEventListener("click", (event) => {
      if (!menu.contains(event.target)) menu.open = false;
    });
    return menu;
  }

  get rows() {
    return this.board.rows.filter((row) => {
      const label = row.label.toLowerCase();
      return !this.words.length || this.words.some((word) => label.includes(word));
    });
  }

  /** The number by which a row is sorted, or its name. */
  key(row) {
    const { column } = this.sorting;
    if (column === NAME) return row.label;
    if (column === SEEDS) return finished(row);
    return number(row.cells[column][this.view === "scores" ? MEAN : DIFFERENCE + 1]);
  }

  sorted() {
    const { column, descending } = this.sorting;
    if (column === null) return this.rows;
    const sign = descending ? -1 : 1;
    return this.rows.sort((one, other) => {
      const [a, b] = [this.key(one), this.key(other)];
      if (column === NAME) return sign * a.localeCompare(b);
      if (Number.isNaN(a) || Number.isNaN(b)) return Number.isNaN(a) - Number.isNaN(b);
      return sign * (a - b);
    });
  }

  /** Sort by a column, the best first; a second time, the other way round. */
  sort(column) {
    const first = column >= 0 && this.board.columns[column].direction === "higher";
    const again = this.sorting.column === column;
    this.sorting = { column, descending: again ? !this.sorting.descending : first };
    this.render();
    this.table.querySelector(`th[data-column="${column}"] button`).focus();
  }

  render() {
    const rows = this.sorted();
    const places = [...this.board.columns.keys()].filter((place) => this.picked.has(place));
    const start = this.view === "scores" ? 0 : DIFFERENCE;
    const columns = new Map(places.map((place) => [place, aligned(rows.map((row) => row.cells[place][start]))]));
    const what = this.view === "scores" ? "Results" : `Paired differences to ${this.board.against}`;
    this.table.replaceChildren(
      make(
        "caption",
        {},
        make("span", {}, `${what}: means over seeds with 95 % intervals. Every number opens its evidence.`),
      ),
      make(
        "thead",
        {},
        make(
          "tr",
          {},
          this.head(NAME, "contender", ""),
          this.head(SEEDS, "seeds", ""),
          places.map((place) => this.head(place, this.board.columns[place].head, this.view === "scores" ? "" : "Δ ")),
        ),
      ),
      make(
        "tbody",
        {},
        rows.map((row, at) => this.row(row, places, columns, at)),
      ),
      this.foot(places),
    );
    const first = this.table.querySelector("tbody button");
    if (first) first.tabIndex = 0;
    this.status.textContent = `${rows.length} of ${counted(this.board.rows.length, "contender")}`;
    this.changed(rows);
  }

  head(column, text, before) {
    const { column: own, descending } = this.sorting;
    const sorted = own === column ? (descending ? "descending" : "ascending") : "none";
    const [, title, unit, arrow] = /^(.*?)(?: \[(.*)\])?( [↓↑])?$/.exec(text);
    return make(
      "th",
      { scope: "col", "aria-sort": sorted, "data-column": column, class: column === NAME ? "text" : "number" },
      make(
        "button",
        { type: "button", onclick: () => this.sort(column) },
        make("span", { class: "title" }, `${before}${title}${arrow ?? ""}`),
        unit ? make("span", { class: "unit" }, unit) : null,
      ),
    );
  }

  row(row, places, columns, at) {
    const look = this.looks[row.label];
    return make(
      "tr",
      {},
      make(
        "th",
        { scope: "row" },
        coloured(make("span", { class: "dot", "aria-hidden": "true" }), look[0]),
        make("button", { type: "button", tabindex: -1, onclick: () => this.open(row, null) }, row.shown),
        badges(row),
      ),
      make(
        "td",
        { class: "number" },
        finished(row) === row.seeds.length ? finished(row) : `${finished(row)} of ${row.seeds.length}`,
      ),
      places.map((place) => this.cell(row, place, columns.get(place)[at])),
    );
  }

  cell(row, place, parts) {
    const cell = row.cells[place];
    const scores = this.view === "scores";
    const kind = [
      "number",
      scores && cell[3] ? "best" : "",
      !scores && cell[DIFFERENCE + 2] ? this.decided(cell, place) : "",
    ];
    if (!parts.text) return make("td", { class: "number" });
    const published = scores && this.board.published?.[row.label]?.[place];
    return make(
      "td",
      { class: kind.filter(Boolean).join(" ") },
      make("button", { type: "button", tabindex: -1, onclick: () => this.open(row, place) }, parts.element()),
      published ? make("span", { class: "paper" }, `paper ${published[0]}`) : null,
    );
  }

  /** Say whether a decided difference is for better or worse. */
  decided(cell, place) {
    const { direction } = this.board.columns[place];
    if (direction === "none") return "decided";
    return number(cell[DIFFERENCE + 1]) > 0 === (direction === "higher") ? "decided better" : "decided worse";
  }

  foot(places) {
    const best = this.board.reference;
    if (this.view !== "scores" || !places.some((place) => best[place])) return "";
    return make(
      "tfoot",
      {},
      make(
        "tr",
        {},
        make("th", { scope: "row" }, "best possible"),
        make("td", {}),
        places.map((place) => make("td", { class: "number" }, best[place]?.[0] ?? "")),
      ),
    );
  }

  /** Arrow keys move between the numbers, as in a spreadsheet. One of them is reached with Tab. */
  walk(event) {
    const step = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[event.key];
    const cell = event.target.closest("tbody td, tbody th");
    if (!step || !cell) return;
    const rows = [...this.table.tBodies[0].rows];
    let [line, place] = [rows.indexOf(cell.parentElement), cell.cellIndex];
    for (;;) {
      [line, place] = [line + step[0], place + step[1]];
      const next = rows[line]?.cells[place];
      if (!next) return;
      const button = next.querySelector("button");
      if (button) {
        event.preventDefault();
        event.target.tabIndex = -1;
        button.tabIndex = 0;
        button.focus();
        return;
      }
    }
  }
}

/** Split the texts of a column so that their decimal points stand below each other, those of the intervals, too. */
function aligned(texts) {
  const split = texts.map((text) => {
    const [, mean, width, ends, marks] = SCORE.exec(text) ?? [];
    return { text, mean: mean ?? text, width: width ?? "", ends: ends ?? "", marks: marks ?? "" };
  });
  const means = padding(split.map((each) => each.mean));
  const widths = padding(split.map((each) => each.width));
  const marked = split.some((each) => each.marks);
  const interval = split.some((each) => each.width || each.ends);
  return split.map((each, place) => ({
    text: each.text,
    element: () => [
      make("span", { "data-pad": means[place] }, each.mean),
      interval
        ? make("span", { class: "interval", "data-pad": widths[place] }, each.width ? `± ${each.width}` : each.ends)
        : null,
      marked
        ? make(
            "span",
            { class: each.marks === DIFFERS ? "mark plain-mark" : "mark" },
            each.marks ? ` ${each.marks}` : "",
          )
        : null,
    ],
  }));
}

/** Return what each number lacks behind its own decimals, so that the points stand below each other. */
function padding(texts) {
  const decimals = texts.map((text) =>
    NUMBER.exec(text)?.groups.power ? "" : (NUMBER.exec(text)?.groups.decimals ?? ""),
  );
  const longest = Math.min(LONGEST, Math.max(0, ...decimals.map((text) => text.length)));
  return texts.map((text, place) =>
    NUMBER.test(text) ? `.${"0".repeat(longest)}`.slice(decimals[place].length, longest) : "",
  );
}

/** The runs of a row that have no result: badges that say how many are going on, and how many ended otherwise. */
function badges(row) {
  const outcomes = Map.groupBy(
    row.runs.filter((run) => run.outcome),
    (run) => run.outcome,
  );
  return [...outcomes].map(([outcome, runs]) => {
    const progress = runs.map((run) => run.progress).filter(Boolean);
    const text = `${runs.length} ${outcome === "started" ? "running" : outcome}`;
    return make("span", { class: `badge ${outcome}` }, [text, ...progress].join(", "));
  });
}

function finished(row) {
  return row.runs.filter((run) => !run.outcome).length;
}
