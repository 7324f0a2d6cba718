// A plot: points or lines on two axes, with a tip that follows the pointer and the arrow keys.

const HEIGHT = 300;
const MARGIN = { left: 58, right: 14, top: 12, bottom: 44 };
const NEAR = 36;
const INTERVALS = 3;
const SHAPES = {
  o: "M-4.5,0a4.5,4.5 0 1,0 9,0a4.5,4.5 0 1,0 -9,0",
  s: "M-4,-4h8v8h-8z",
  "^": "M0,-5L4.8,4H-4.8z",
  v: "M0,5L4.8,-4H-4.8z",
  D: "M0,-5.4L5.4,0L0,5.4L-5.4,0z",
  P: "M-1.7,-5h3.4v3.3h3.3v3.4h-3.3v3.3h-3.4v-3.3h-3.3v-3.4h3.3z",
  X: "M-4.8,-2.6L-2.6,-4.8L0,-2.2L2.6,-4.8L4.8,-2.6L2.2,0L4.8,2.6L2.6,4.8L0,2.2L-2.6,4.8L-4.8,2.6L-2.2,0z",
  "*": "M0,-5.6L1.5,-1.9L5.4,-1.7L2.4,0.8L3.4,4.6L0,2.5L-3.4,4.6L-2.4,0.8L-5.4,-1.7L-1.5,-1.9z",
  "<": "M-5,0L4,-4.8V4.8z",
};

/**
 * A plot of series: {label, name, look, line, points: [{x, y, dx, dy, text, open}]}. `dx` and `dy` are the half-widths
 * of intervals. `front` is a line of places, `sums` draws lines of equal x + y, `threshold` a level.
 */
class Plot {
  constructor({ title, note, x, y, series, front = [], sums = false, zero = false }) {
    Object.assign(this, { title, note, x, y, series, front, sums, zero });
    this.hidden = new Set();
    this.tip = make("div", { class: "tip", role: "status", "aria-live": "polite", hidden: true });
    this.svg = draw("svg", {
      tabindex: 0,
      role: "application",
      "aria-roledescription": "plot",
      "aria-label": `${title}: ${y.label} over ${x.label}. Arrow keys move between points, Enter opens the evidence.`,
    });
    this.frame = make("div", { class: "frame" }, this.svg, this.tip);
    this.data = make("details", { class: "data" }, make("summary", {}, "as a table"));
    this.data.addEventListener("toggle", () => this.tabulate(), { once: true });
    this.element = make(
      "figure",
      { "aria-label": title },
      make("figcaption", {}, make("strong", {}, title), note ? make("span", {}, note) : null),
      this.frame,
      this.data,
    );
    this.listen();
    new ResizeObserver(([entry]) => this.resize(entry.contentRect.width)).observe(this.frame);
  }

  listen() {
    this.svg.addEventListener("pointermove", (event) => this.point(event));
    this.svg.addEventListener("pointerleave", () => this.show(null));
    this.svg.addEventListener("blur", () => this.show(null));
    this.svg.addEventListener("click", (event) => {
      this.point(event);
      this.active?.point.open();
    });
    this.svg.addEventListener("keydown", (event) => this.walk(event));
  }

  get shown() {
    return this.series.filter((each) => !this.hidden.has(each.label) && each.points.length);
  }

  hide(labels) {
    this.hidden = labels;
    this.render();
  }

  replace(x, series) {
    Object.assign(this, { x, series });
    this.data.replaceChildren(this.data.firstElementChild);
    if (this.data.open) this.tabulate();
    else this.data.addEventListener("toggle", () => this.tabulate(), { once: true });
    this.render();
  }

  resize(width) {
    if (width && Math.abs(width - (this.width ?? 0)) > 1) {
      this.width = width;
      this.render();
    }
  }

  render() {
    if (!this.width) return;
    this.active = null;
    this.tip.hidden = true;
    const points = this.shown.flatMap((each) => each.points);
    const [across, up] = [span(points, "x", "dx"), span(points, "y", "dy")];
    this.horizontal = scale(across, [MARGIN.left, this.width - MARGIN.right], this.x.log, false);
    this.vertical = scale(up, [HEIGHT - MARGIN.bottom, MARGIN.top], this.y.log, this.zero);
    this.svg.setAttribute("viewBox", `0 0 ${this.width} ${HEIGHT}`);
    this.svg.replaceChildren(
      ...this.axes(),
      ...this.levels(),
      this.frontLine(),
      ...this.shown.map((each) => this.draw(each)),
    );
    if (!points.length)
      this.svg.append(
        draw("text", { x: this.width / 2, y: HEIGHT / 2, class: "label", "text-anchor": "middle" }, "nothing to show"),
      );
  }

  axes() {
    const bottom = HEIGHT - MARGIN.bottom;
    const ticks = [];
    for (const at of this.horizontal.ticks(Math.max(2, Math.floor(this.width / 90)))) {
      const x = this.horizontal.place(at);
      ticks.push(draw("line", { class: "grid", x1: x, x2: x, y1: MARGIN.top, y2: bottom }));
      ticks.push(draw("text", { class: "tick", x, y: bottom + 16, "text-anchor": "middle" }, tickText(at)));
    }
    for (const at of this.vertical.ticks(6)) {
      const y = this.vertical.place(at);
      ticks.push(draw("line", { class: "grid", x1: MARGIN.left, x2: this.width - MARGIN.right, y1: y, y2: y }));
      ticks.push(draw("text", { class: "tick", x: MARGIN.left - 8, y: y + 4, "text-anchor": "end" }, tickText(at)));
    }
    const middle = (MARGIN.top + bottom) / 2;
    return [
      ...ticks,
      draw(
        "text",
        { class: "label", x: (MARGIN.left + this.width - MARGIN.right) / 2, y: HEIGHT - 8, "text-anchor": "middle" },
        this.x.label,
      ),
      draw(
        "text",
        { class: "label", transform: `translate(13,${middle}) rotate(-90)`, "text-anchor": "middle" },
        this.y.label,
      ),
    ];
  }

  /** Lines on which x + y is equal, at round sums. */
  levels() {
    if (!this.sums) return [];
    const [left, right] = this.horizontal.ends;
    const [low, high] = this.vertical.ends;
    return niceTicks(left + low, right + high, 7)
      .map((sum) => {
        const from = Math.max(left, sum - high);
        const to = Math.min(right, sum - low);
        return from < to
          ? draw("line", {
              class: "level",
              x1: this.horizontal.place(from),
              y1: this.vertical.place(sum - from),
              x2: this.horizontal.place(to),
              y2: this.vertical.place(sum - to),
            })
          : "";
      })
      .filter(Boolean);
  }

  frontLine() {
    const places = this.front.map(([x, y]) => `${this.horizontal.place(x)},${this.vertical.place(y)}`);
    return draw("polyline", { class: "front", points: places.join(" ") });
  }

  draw(series) {
    const group = coloured(draw("g", { class: "series" }), series.look[0]);
    const places = series.points.map((point) => [this.horizontal.place(point.x), this.vertical.place(point.y)]);
    if (series.line) {
      group.append(
        draw("polyline", {
          class: "line",
          points: places.map((place) => place.join(",")).join(" "),
          "stroke-dasharray": series.look[2].map((part) => part * 1.5).join(" "),
        }),
      );
      if (places.length === 1)
        group.append(draw("circle", { class: "mark", cx: places[0][0], cy: places[0][1], r: 2.5 }));
    } else {
      series.points.forEach((point, place) =>
        group.append(
          ...this.intervals(point, places[place]),
          this.mark(series, places[place]),
          ...this.ring(point, places[place]),
        ),
      );
    }
    series.group = group;
    return group;
  }

  mark(series, [x, y]) {
    return draw("path", { class: "mark", d: SHAPES[series.look[1]] ?? SHAPES.o, transform: `translate(${x},${y})` });
  }

  ring(point, [x, y]) {
    return point.front ? [draw("circle", { class: "ring", cx: x, cy: y, r: 8.5 })] : [];
  }

  intervals(point, [x, y]) {
    const bars = [];
    if (point.dx > 0)
      bars.push([this.horizontal.within(point.x - point.dx), y, this.horizontal.within(point.x + point.dx), y]);
    if (point.dy > 0)
      bars.push([x, this.vertical.within(point.y - point.dy), x, this.vertical.within(point.y + point.dy)]);
    return bars.map(([x1, y1, x2, y2]) => draw("line", { class: "bar", x1, y1, x2, y2 }));
  }

  /** Show the point that is nearest to the pointer. */
  point(event) {
    const box = this.svg.getBoundingClientRect();
    const ratio = this.width / box.width;
    const [x, y] = [(event.clientX - box.left) * ratio, (event.clientY - box.top) * ratio];
    let nearest = null;
    let least = NEAR;
    for (const series of this.shown) {
      for (const point of series.points) {
        const distance = Math.hypot(this.horizontal.place(point.x) - x, this.vertical.place(point.y) - y);
        if (distance < least) [least, nearest] = [distance, { series, point }];
      }
    }
    this.show(nearest);
  }

  show(active) {
    if (active?.point === this.active?.point) return;
    this.active?.series.group.classList.remove("on");
    this.active = active;
    this.svg.classList.toggle("dim", active !== null);
    this.tip.hidden = active === null;
    this.halo?.remove();
    if (active === null) return;
    const { series, point } = active;
    const [x, y] = [this.horizontal.place(point.x), this.vertical.place(point.y)];
    series.group.classList.add("on");
    this.svg.append(series.group);
    this.halo = coloured(draw("circle", { class: "halo", cx: x, cy: y, r: 8 }), series.look[0]);
    this.svg.append(this.halo);
    this.tip.replaceChildren(make("strong", {}, series.name), ...point.text.map((line) => make("span", {}, line)));
    const half = this.tip.offsetWidth / 2;
    this.tip.style.left = `${Math.max(half, Math.min(x, this.width - half))}px`;
    this.tip.style.top = `${y}px`;
    this.tip.classList.toggle("below", y < 90);
  }

  /** Bring the series of one contender to the fore; null shows all alike. */
  emphasize(label) {
    this.svg.classList.toggle("dim", label !== null);
    for (const series of this.shown) series.group?.classList.toggle("on", series.label === label);
  }

  /** Left and right move along a line, up and down to another contender. */
  walk(event) {
    const shown = this.shown;
    if (event.key === "Escape") this.show(null);
    if (event.key === "Enter") this.active?.point.open();
    const [along, across] = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[
      event.key
    ] ?? [0, 0];
    if (!shown.length || !(along || across)) return;
    event.preventDefault();
    const whole = shown.every((each) => each.points.length === 1);
    const steps = whole ? along + across : across;
    const own = this.active ? shown.indexOf(this.active.series) : -1;
    const series = shown[own < 0 ? 0 : (own + steps + shown.length) % shown.length];
    const at = this.active ? this.active.series.points.indexOf(this.active.point) : 0;
    const place = own < 0 ? 0 : Math.min(Math.max(at + (whole ? 0 : along), 0), series.points.length - 1);
    this.show({ series, point: series.points[place] });
  }

  tabulate() {
    const rows = this.series.flatMap((series) =>
      series.points.map((point) => [
        series.name,
        written(point.x),
        written(point.y),
        ...(series.line ? [] : [written(point.dx), written(point.dy)]),
      ]),
    );
    const line = this.series.some((series) => series.line);
    const heads = line ? ["run", this.x.label, this.y.label] : ["contender", this.x.label, this.y.label, "± x", "± y"];
    this.data.append(plainTable(`${this.title}: ${this.y.label} over ${this.x.label}`, heads, rows));
  }
}

/** The numbers that an axis must hold: those of the points with their intervals, unless these would hide the points. */
function span(points, name, half) {
  const means = points.map((point) => point[name]).filter(Number.isFinite);
  const [low, high] = [Math.min(...means), Math.max(...means)];
  const most = high > low ? (high - low) * INTERVALS : Infinity;
  const ends = points.flatMap((point) =>
    point[half] > 0 ? [point[name] - point[half], point[name] + point[half]] : [],
  );
  return [...means, ...ends.map((end) => Math.min(Math.max(end, low - most), high + most))];
}

/** A scale from numbers to places. Numbers that are not finite do not count. */
function scale(values, [start, end], log, zero) {
  const usable = values.filter((value) => Number.isFinite(value) && (!log || value > 0));
  const map = log ? Math.log10 : (value) => value;
  let [low, high] = [Math.min(...usable), Math.max(...usable)];
  if (!usable.length) [low, high] = log ? [1, 10] : [0, 1];
  [low, high] = [map(low), map(high)];
  const room = (high - low || Math.abs(high) || 1) * 0.06;
  [low, high] = [zero && low >= 0 ? 0 : low - room, high + room];
  const place = (value) => Math.round((start + ((map(value) - low) / (high - low)) * (end - start)) * 100) / 100;
  const ends = log ? [10 ** low, 10 ** high] : [low, high];
  return {
    ends,
    place,
    within: (value) => place(Math.min(Math.max(value, ends[0]), ends[1])),
    ticks: (many) => (log ? logTicks(low, high, many) : niceTicks(low, high, many)),
  };
}

/** Round numbers between two others, about so many. */
function niceTicks(low, high, many) {
  const rough = (high - low) / many;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((part) => part * power).find((size) => size >= rough * 0.99);
  const found = [];
  for (let at = Math.ceil(low / step); at * step <= high; at += 1) found.push(Number((at * step).toPrecision(12)));
  return found;
}

function logTicks(low, high, many) {
  const parts = high - low < 1.5 ? [1, 2, 5] : [1];
  const found = [];
  for (let power = Math.floor(low); power <= Math.ceil(high); power += 1)
    for (const part of parts)
      if (Math.log10(part) + power >= low && Math.log10(part) + power <= high) found.push(part * 10 ** power);
  const every = Math.ceil(found.length / Math.max(many, 2));
  return found.filter((_, place) => place % every === 0);
}

function tickText(value) {
  const size = Math.abs(value);
  if (size >= 1e6 || (size > 0 && size < 1e-3)) return value.toExponential().replace("e+", "e").replaceAll("-", "−");
  return value.toLocaleString("en", { maximumSignificantDigits: 6 }).replace("-", "−");
}
