// Reads the content and builds the page.

const content = JSON.parse(document.getElementById("content").textContent);
const evidence = new Evidence(document.querySelector("dialog"), content);
const everyFigures = [];

/** Switch between light and dark; without a click, the page follows the system. */
function themeButton() {
  const root = document.documentElement;
  const system = matchMedia("(prefers-color-scheme: dark)");
  const isDark = () => (root.style.colorScheme || (system.matches ? "dark" : "light")) === "dark";
  const button = make("button", { type: "button", class: "quiet theme" });
  const name = () => {
    button.textContent = isDark() ? "Light" : "Dark";
    button.setAttribute("aria-label", `Switch to ${isDark() ? "light" : "dark"} colours`);
  };
  button.addEventListener("click", () => {
    root.style.colorScheme = isDark() ? "light" : "dark";
    name();
  });
  system.addEventListener("change", name);
  name();
  return button;
}

/** The name of a board: with the cells of its suite, or with what sets it apart from boards of the same title. */
function nameOf(board) {
  return board.cells ? `${board.cells} · ${board.title}` : [board.title, ...apart(board)].join(" · ");
}

/** The overrides that tell a board from others with its title. */
function apart(board) {
  const same = content.boards.filter((other) => other.title === board.title);
  return board.overrides.filter((text) => !same.every((other) => other.overrides.includes(text)));
}

/** What the name of a board does not say of its setting. */
function settingOf(board) {
  const said = board.cells ? [] : apart(board);
  return [...board.overrides.filter((text) => !said.includes(text)), board.setting].join(" · ");
}

function outcomesText(board) {
  const words = ([name, many]) => [many, name === "started" ? "still running" : name];
  const outcomes = Object.entries(board.outcomes).map(words);
  const total = outcomes.reduce((sum, [many]) => sum + many, 0);
  const runs = counted(total, "run");
  if (outcomes.length === 1) return `${runs}, ${total === 1 ? "" : "all "}${outcomes[0][1]}`;
  return `${runs}: ${outcomes.map((each) => each.join(" ")).join(", ")}`;
}

function boardSection(board) {
  const open = (row, place) => evidence.open(board, row, place);
  const figures = new Figures(board, content, open);
  everyFigures.push(figures);
  const table = new BoardTable(board, content.looks, open, (rows) => figures.filter(rows));
  const observer = new IntersectionObserver(
    (entries) => {
      if (entries.some((entry) => entry.isIntersecting)) {
        figures.build();
        observer.disconnect();
      }
    },
    { rootMargin: "600px" },
  );
  observer.observe(figures.element);
  return make(
    "section",
    { id: `board-${board.id}`, "aria-labelledby": `title-${board.id}` },
    make("h2", { id: `title-${board.id}` }, nameOf(board)),
    make("p", { class: "where" }, `${settingOf(board)} · ${outcomesText(board)}`),
    board.decisions.length
      ? make(
          "ul",
          { class: "decisions" },
          board.decisions.map((line) => make("li", {}, line)),
        )
      : "",
    table.element,
    figures.element,
    samplesSection(board, content.looks),
    make(
      "details",
      { class: "notes" },
      make("summary", {}, "Notes"),
      make(
        "ul",
        {},
        board.notes.map((note) => make("li", {}, note)),
      ),
    ),
    make(
      "details",
      { class: "notes" },
      make("summary", {}, "The command that makes these runs"),
      commandBlock(board.command),
    ),
  );
}

function contents() {
  const links = content.boards.map((board) =>
    make(
      "li",
      {},
      make("a", { href: `#board-${board.id}` }, nameOf(board)),
      ` ${counted(board.rows.length, "contender")}, ${outcomesText(board)}`,
    ),
  );
  return make("nav", { "aria-label": "Boards" }, make("ol", {}, links));
}

/** The measured numbers beside those of a paper: one table for each column. */
function paperSection(paper) {
  return make(
    "section",
    { id: "paper", "aria-labelledby": "title-paper" },
    make("h2", { id: "title-paper" }, "Beside the paper"),
    make("p", { class: "where" }, paper.title),
    make(
      "div",
      { class: "papers" },
      paper.tables.map((table) => plainTable(table.caption, table.heads, table.rows)),
    ),
    make(
      "ul",
      { class: "small" },
      paper.notes.map((note) => make("li", {}, note)),
    ),
    commandBlock(paper.command),
  );
}

document
  .querySelector(".top")
  .append(
    make(
      "div",
      {},
      make("h1", {}, content.title),
      make("p", { class: "where" }, `collapsebench ${content.version} · ${counted(content.boards.length, "board")}`),
    ),
    themeButton(),
  );
if (content.boards.length > 1) document.querySelector("main").append(contents());
document.querySelector("main").append(...content.boards.map(boardSection));
if (content.paper) document.querySelector("main").append(paperSection(content.paper));
addEventListener("beforeprint", () => {
  everyFigures.forEach((figures) => figures.build());
  document.querySelectorAll(".notes").forEach((notes) => (notes.open = true));
});
