// The figures of one board, and the legend that hides contenders in all of them.

const UNITS = { seconds: "s", flops: "FLOP" };

class Figures {
  constructor(board, content, open) {
    Object.assign(this, { board, content, open });
    this.hidden = new Set();
    this.filtered = new Set();
    this.counter = board.counters[0];
    this.element = make("div", { class: "figures" });
  }

  /** Draw everything. It is called when the figures come into view, or are printed. */
  build() {
    if (this.planes) return;
    this.planes = this.board.planes.map((plane) => this.plane(plane));
    this.trajectories = this.content.tracked.map((head, place) => this.trajectory(head, place)).filter(Boolean);
    this.spectrum = this.units();
    const drawn = [...this.planes, ...(this.spectrum ? [this.spectrum] : [])];
    this.element.append(
      this.legend(),
      make(
        "div",
        { class: drawn.length === 3 ? "pair three" : "pair" },
        drawn.map((plot) => plot.element),
      ),
      this.trajectories.length ? this.overBudget() : "",
    );
    this.update();
  }

  get plots() {
    return this.planes ? [...this.planes, ...this.trajectories, ...(this.spectrum ? [this.spectrum] : [])] : [];
  }

  /** Show the contenders that the table shows, but for those that the legend hides. */
  filter(rows) {
    const shown = new Set(rows.map((row) => row.label));
    this.filtered = new Set(this.board.rows.map((row) => row.label).filter((label) => !shown.has(label)));
    this.update();
  }

  update() {
    const hidden = new Set([...this.hidden, ...this.filtered]);
    this.plots.forEach((plot) => plot.hide(hidden));
  }

  emphasize(label) {
    this.plots.forEach((plot) => plot.emphasize(label));
  }

  legend() {
    const chips = this.board.rows.map((row) =>
      make(
        "button",
        {
          type: "button",
          class: "chip",
          "aria-pressed": "true",
          onpointerenter: () => this.emphasize(row.label),
          onpointerleave: () => this.emphasize(null),
          onfocus: () => this.emphasize(row.label),
          onblur: () => this.emphasize(null),
          onclick: ({ currentTarget: chip }) => {
            const hide = chip.getAttribute("aria-pressed") === "true";
            chip.setAttribute("aria-pressed", String(!hide));
            this.hidden[hide ? "add" : "delete"](row.label);
            this.update();
          },
        },
        this.swatch(row),
        row.label,
      ),
    );
    const all = (hide) => () => {
      this.hidden = new Set(hide ? this.board.rows.map((row) => row.label) : []);
      chips.forEach((chip) => chip.setAttribute("aria-pressed", String(!hide)));
      this.update();
    };
    return make(
      "div",
      { class: "legend", role: "group", "aria-label": "Contenders in the figures" },
      chips,
      make("button", { type: "button", class: "quiet", onclick: all(false) }, "all"),
      make("button", { type: "button", class: "quiet", onclick: all(true) }, "none"),
    );
  }

  swatch(row) {
    const look = this.content.looks[row.label];
    return coloured(
      draw(
        "svg",
        { viewBox: "-12 -7 24 14", width: 24, height: 14, "aria-hidden": "true" },
        draw("line", { class: "line", x1: -12, x2: 12, y1: 0, y2: 0, "stroke-dasharray": look[2].join(" ") }),
        draw("path", { class: "mark", d: SHAPES[look[1]] ?? SHAPES.o }),
      ),
      look[0],
    );
  }

  plane(plane) {
    const series = plane.points.map(([place, x, dx, y, dy]) => {
      const row = this.board.rows[place];
      const text = [withInterval(plane.x, x, dx), withInterval(plane.y, y, dy)];
      const front = plane.front.includes(place);
      if (front) text.push("on the Pareto front");
      const point = {
        x: number(x),
        dx: number(dx),
        y: number(y),
        dy: number(dy),
        text,
        front,
        open: () => this.open(row, null),
      };
      return { label: row.label, name: row.label, look: this.content.looks[row.label], points: [point] };
    });
    const means = new Map(plane.points.map(([place, x, , y]) => [place, [number(x), number(y)]]));
    return new Plot({
      title: plane.title,
      note: `${plane.note} Ringed: no other contender is better in one number and as good in the other.`,
      x: { label: plane.x },
      y: { label: plane.y },
      series,
      front: plane.front.map((place) => means.get(place)),
      sums: plane.equalSums,
    });
  }

  trajectory(head, place) {
    const label = head.unit ? `${head.title} [${head.unit}]` : head.title;
    const series = this.lines(place, label);
    if (!series.some((each) => each.points.length)) return null;
    const plot = new Plot({ title: head.title, x: this.counterAxis(), y: { label }, series });
    plot.redraw = () => plot.replace(this.counterAxis(), this.lines(place, label));
    return plot;
  }

  counterAxis() {
    const unit = UNITS[this.counter];
    const name = this.counter.replaceAll("_", " ");
    return { label: unit ? `${name} [${unit}]` : name, log: this.counter === "flops" };
  }

  /** One line a run: its value over the counter that is chosen. */
  lines(place, label) {
    const { counters } = this.board;
    const axis = this.counterAxis();
    return this.board.rows.flatMap((row) =>
      row.runs
        .filter((run) => run.lines)
        .map((run) => {
          const own = run.lines.map((line) => this.content.lines[line]);
          const [xs, ys] = [own[counters.indexOf(this.counter)], own[counters.length + place]];
          const points = xs
            .map((x, at) => ({ x: number(x), y: number(ys[at]), open: () => this.open(row, null) }))
            .filter((point) => Number.isFinite(point.x) && Number.isFinite(point.y) && (!axis.log || point.x > 0));
          for (const point of points)
            point.text = [`${written(point.x)} ${axis.label}`, `${written(point.y)} ${label}`];
          return {
            label: row.label,
            name: `${row.label}, seed ${run.seed}`,
            look: this.content.looks[row.label],
            line: true,
            points,
          };
        }),
    );
  }

  overBudget() {
    const choose = (event) => {
      this.counter = event.target.value;
      this.trajectories.forEach((plot) => plot.redraw());
      this.update();
    };
    const options = this.board.counters.map((name) => make("option", { value: name }, name.replaceAll("_", " ")));
    return make(
      "section",
      { class: "trajectories" },
      make("h3", {}, "Over the budget"),
      make(
        "div",
        { class: "tools" },
        make("p", {}, "Validation split; each line is a run."),
        make("label", { class: "field" }, make("span", {}, "Over"), make("select", { onchange: choose }, options)),
      ),
      make(
        "div",
        { class: "pair" },
        this.trajectories.map((plot) => plot.element),
      ),
    );
  }

  units() {
    const series = this.board.rows.flatMap((row) =>
      row.runs
        .filter((run) => run.units)
        .map((run) => {
          const points = run.units.map((value, place) => ({
            x: place + 1,
            y: number(value),
            text: [`unit ${place + 1} of ${run.units.length}, by falling KL`, `${written(value)} nats`],
            open: () => this.open(row, null),
          }));
          return {
            label: row.label,
            name: `${row.label}, seed ${run.seed}`,
            look: this.content.looks[row.label],
            line: true,
            points: points.filter((point) => Number.isFinite(point.y)),
          };
        }),
    );
    if (!series.length) return null;
    return new Plot({
      title: "Spectrum of the units",
      note: "KL of each unit, in falling order; each line is a run. A collapsed unit has none.",
      x: { label: "unit, by falling KL" },
      y: { label: "KL of the unit [nats]" },
      series,
      zero: true,
    });
  }
}

function withInterval(head, mean, half) {
  const width = number(half);
  return `${head.replace(/ [↓↑]$/, "")}: ${written(mean, 5)}${Number.isFinite(width) ? ` ± ${written(width, 2)}` : ""}`;
}
