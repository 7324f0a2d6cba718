// The evidence of a number: the runs that it comes from, how it was estimated, what it cost, and how to repeat it.

class Evidence {
  constructor(dialog, content) {
    Object.assign(this, { dialog, content });
    dialog.addEventListener("click", (event) => {
      if (event.target === dialog) dialog.close();
    });
  }

  /** Open the evidence of a row; `place` is that of a column, or null for all columns. */
  open(board, row, place) {
    const column = place === null ? null : board.columns[place];
    this.dialog.replaceChildren(
      make(
        "header",
        {},
        make("h2", { id: "evidence-title" }, column ? `${row.label} · ${column.title}` : row.label),
        make(
          "button",
          { type: "button", class: "quiet", autofocus: true, onclick: () => this.dialog.close() },
          "Close",
        ),
      ),
      make("p", { class: "where" }, `${nameOf(board)} · ${settingOf(board)}`),
      ...(column ? this.number(board, row, place) : this.scores(board, row)),
      ...this.runs(board, row, place),
      ...this.difference(board, row),
      ...this.costs(board, row),
      ...this.marks(board, row, place),
      ...this.code(row),
      ...this.machines(row),
      ...this.repeat(board, row),
    );
    this.dialog.showModal();
    this.dialog.scrollTop = 0;
  }

  number(board, row, place) {
    const column = board.columns[place];
    const [text, , , best, difference, , decided] = row.cells[place];
    const better = { lower: "lower is better", higher: "higher is better", none: "neither high nor low is better" };
    const facts = [
      ["Mean over seeds, with its 95 % interval", `${text}${best ? ", bold on the board" : ""}`],
      ["Column", `${column.key}${column.unit ? `, in ${column.unit}` : ""}; ${better[column.direction]}`],
      column.metric ? ["Estimator", `metric ${column.metric}${column.estimator ? `: ${column.estimator}` : ""}`] : null,
      difference
        ? [
            `Paired difference to ${board.against}`,
            `${difference}; ${decided ? "its interval excludes zero" : "its interval does not exclude zero"}`,
          ]
        : null,
      board.reference[place]
        ? ["Best possible", [board.reference[place][0], row.distances?.[place]].filter(Boolean).join("; ")]
        : null,
    ];
    return [factList(facts), ...this.published(board, row, place), this.measured(column)];
  }

  /** What the number means, in the words of its metric. */
  measured(column) {
    const parts = this.content.measures[column.metric];
    if (!parts) return "";
    const summary = make("summary", {}, `How ${column.metric} is measured, and its trap`);
    return make("details", { class: "notes" }, summary, factList(parts));
  }

  published(board, row, place) {
    const found = board.published?.[row.label]?.[place];
    if (!found) return [];
    const [printed, difference, source, reasons] = found;
    const comparable = reasons.length
      ? `Not comparable: ${reasons.join("; ")}.`
      : difference
        ? "The two can be compared."
        : "";
    return [
      make("h3", {}, "The paper"),
      factList([
        ["Published", printed],
        ["Ours minus published", difference],
        ["Source", source],
      ]),
      make("p", {}, comparable),
    ];
  }

  scores(board, row) {
    const rows = board.columns.flatMap((column, place) =>
      column.metric && row.cells[place][0] ? [[column.head, row.cells[place][0], row.cells[place][4]]] : [],
    );
    const heads = ["column", "mean ± 95 % interval", ...(board.against ? [`difference to ${board.against}`] : [])];
    return [
      plainTable(
        "Scores",
        heads,
        rows.map((cells) => cells.slice(0, heads.length)),
      ),
    ];
  }

  /** The runs, with the value of the column and the error of its estimator. */
  runs(board, row, place) {
    const error = place !== null && row.runs.some((run) => run.errors?.[place] !== undefined);
    const heads = [
      "seed",
      ...(place === null ? [] : ["value"]),
      ...(error ? ["standard error"] : []),
      "outcome",
      "started",
      "run",
    ];
    const body = row.runs.map((run) => [
      run.seed,
      ...(place === null ? [] : [written(run.values[place], 10)]),
      ...(error ? [written(run.errors?.[place], 3)] : []),
      run.outcome === "started" ? ["running", run.progress].filter(Boolean).join(", ") : (run.outcome ?? "finished"),
      run.started,
      make("code", {}, run.id),
    ]);
    for (const seed of row.missing ?? []) body.push([seed, ...heads.slice(1, -3).map(() => "—"), "missing", "—", "—"]);
    const messages = row.runs.filter((run) => run.message);
    return [
      make("h3", {}, "Runs"),
      plainTable("Runs of this contender, one for each seed", heads, body),
      messages.length
        ? make(
            "ul",
            {},
            messages.map((run) => make("li", {}, `seed ${run.seed}, ${run.outcome ?? "finished"}: ${run.message}`)),
          )
        : "",
    ];
  }

  difference(board, row) {
    const place = board.columns.findIndex((column) => column.key === "parameters");
    const cell = place < 0 ? null : row.cells[place];
    const methods = (row.methods ?? []).map(([name, version, params]) => {
      const settings = Object.entries(params).map(([key, value]) => `${key} ${JSON.stringify(value)}`);
      return make(
        "li",
        {},
        make("strong", {}, name),
        ` (version ${version})${settings.length ? `: ${settings.join(", ")}` : ""}`,
      );
    });
    return [
      make("h3", {}, "What differs from the baseline"),
      methods.length ? make("ul", {}, methods) : make("p", {}, "Nothing: no method is added."),
      cell?.[0] ? make("p", {}, `${cell[0]} parameters${cell[4] ? ` (${cell[4]} against ${board.against})` : ""}`) : "",
    ];
  }

  costs(board, row) {
    const costs = [...board.columns.entries()].filter(([, column]) => !column.metric && column.key !== "parameters");
    const finished = row.runs.filter((run) => run.values.some((value) => value !== null));
    if (!costs.length || !finished.length) return [];
    const body = costs.map(([place, column]) => [
      column.title,
      row.cells[place][0],
      ...finished.map((run) => written(run.values[place], 8)),
    ]);
    return [
      make("h3", {}, "What it cost"),
      plainTable(
        "Counters at the end of training",
        ["counter", "mean", ...finished.map((run) => `seed ${run.seed}`)],
        body,
      ),
    ];
  }

  marks(board, row, place) {
    const of = (texts) => (place === null ? Object.values(texts ?? {}).flat() : (texts?.[place] ?? []));
    const saturated = place === null || board.columns[place].key.endsWith("mi_lower") ? (row.saturated ?? []) : [];
    const lines = [
      ...of(row.impossible).map((text) => `! cannot be, whatever the model: ${text}`),
      ...of(row.reasons).map((text) => `§ no number: ${text}`),
      ...(saturated.length ? [`† at the limit of its estimator: seed ${saturated.join(", ")}`] : []),
      ...(row.findings ?? []).map(([guard, text, seeds]) => `‡ ${text} (${guard}; seed ${seeds.join(", ")})`),
    ];
    return lines.length
      ? [
          make("h3", {}, "Marks"),
          make(
            "ul",
            {},
            lines.map((line) => make("li", {}, line)),
          ),
        ]
      : [];
  }

  code(row) {
    if (!row.code) return [];
    const body = row.code.map(([component, hash, seeds]) => [component, make("code", {}, hash), seeds.join(", ")]);
    return [
      make("h3", {}, "Code that does not come with collapsebench"),
      plainTable("Hashes of code", ["component", "hash", "seeds"], body, false),
    ];
  }

  machines(row) {
    const places = [...new Set(row.runs.map((run) => run.environment))].filter((place) => place !== undefined);
    const lines = places.map((place) => make("li", {}, environmentText(this.content.environments[place])));
    return lines.length
      ? [make("h3", {}, counted(lines.length, "environment").replace(/^1 e/, "E")), make("ul", {}, lines)]
      : [];
  }

  repeat(board, row) {
    const commands = [row.command, ...row.runs.map((run) => `collapsebench runs show ${run.id}`)];
    return [make("h3", {}, "Repeat it"), commandBlock(commands.join("\n"))];
  }
}

function factList(pairs) {
  return make(
    "dl",
    {},
    pairs.filter(Boolean).map(([term, text]) => [make("dt", {}, term), make("dd", {}, text)]),
  );
}

function environmentText(environment) {
  const known = Object.entries(environment).filter(([, value]) => value !== null);
  return known.map(([key, value]) => `${key} ${typeof value === "string" ? value : JSON.stringify(value)}`).join(", ");
}
