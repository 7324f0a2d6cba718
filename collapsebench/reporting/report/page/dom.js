// Elements. Every text of the content becomes a text node or an attribute of plain text, and never markup.

const SVG = "http://www.w3.org/2000/svg";

/** Make an element with attributes, listeners (`onclick`) and children: elements, texts, or nothing. */
function make(tag, attributes = {}, ...children) {
  return filled(document.createElement(tag), attributes, children);
}

/** Make a block of commands. A line ends before an option, and not behind its hyphens. */
function commandBlock(text) {
  const option = (part) => (part.startsWith("--") ? make("span", { class: "option" }, part) : part);
  return make("pre", { tabindex: 0 }, text.split(/(?<=\s)(--[\w-]+)/).map(option));
}

/** Make an element of a drawing. */
function draw(tag, attributes = {}, ...children) {
  return filled(document.createElementNS(SVG, tag), attributes, children);
}

function filled(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== ""));
  return element;
}

/** Set the colour of a contender on an element; the style sheet fits it to light and dark. */
function coloured(element, colour) {
  element.style.setProperty("--contender", colour);
  return element;
}

/** Return a number of the content, where texts stand for numbers that are not finite. */
function number(value) {
  if (value === null || value === undefined || value === "") return NaN;
  return { nan: NaN, "+inf": Infinity, "-inf": -Infinity }[value] ?? Number(value);
}

/** Write a number that is no mean of a board: at most some digits, with a true minus. */
function written(value, digits = 6) {
  const read = number(value);
  if (!Number.isFinite(read)) return value === null || value === undefined ? "—" : String(value).replace("-", "−");
  const size = Math.abs(read);
  const text =
    size >= 1e9 || (size > 0 && size < 1e-4)
      ? read.toExponential(Math.min(digits, 4) - 1).replace("e+", "e")
      : Number.isInteger(read)
        ? read.toLocaleString("en")
        : String(Number(read.toPrecision(digits)));
  return text.replaceAll("-", "−");
}

/** Make a plain table for people who do not see the picture, and for evidence. The first cell of a row is its head. */
function plainTable(caption, heads, rows, numeric = true) {
  const body = rows.map(([first, ...cells]) =>
    make(
      "tr",
      {},
      make("th", { scope: "row" }, first),
      cells.map((cell) => make("td", { class: numeric ? "number" : "text" }, cell)),
    ),
  );
  const head = heads.map((text, place) =>
    make("th", { scope: "col", class: place && numeric ? "number" : "text" }, text),
  );
  return make(
    "div",
    { class: "scroll", tabindex: 0, role: "region", "aria-label": caption },
    make(
      "table",
      { class: "plain" },
      make("caption", {}, caption),
      make("thead", {}, make("tr", {}, head)),
      make("tbody", {}, body),
    ),
  );
}

function counted(many, one, several = `${one}s`) {
  return `${many} ${many === 1 ? one : several}`;
}
