// Samples of trained models. A collapsed model makes the same of every code: then its specimens are equal.

function samplesSection(board, looks) {
  if (!board.samples?.length) return "";
  return make(
    "section",
    { class: "samples" },
    make("h3", {}, "Samples"),
    board.samples.map((samples) => samplesOf(samples, looks[samples.label])),
  );
}

function samplesOf(samples, look) {
  return make(
    "details",
    { class: "specimens", open: true },
    make(
      "summary",
      {},
      coloured(make("span", { class: "spot", "aria-hidden": "true" }), look?.[0] ?? "currentcolor"),
      make("strong", {}, samples.label),
      make("span", { class: "where" }, ` seed ${samples.seed}, run ${samples.run}: ${samples.what}; `),
      make("span", { class: samples.equal ? "worse" : "where" }, samples.verdict),
    ),
    samples.groups.map((group) => groupOf(group)),
  );
}

function groupOf(group) {
  const pictures = group.some(([, content]) => content.startsWith("data:image/png;base64,"));
  if (pictures) return make("div", { class: "pictures" }, group.map(pictureOf));
  return make(
    "dl",
    { class: "texts" },
    group.map(([caption, content, made]) => [
      make("dt", {}, caption),
      make("dd", { class: made ? "made" : "" }, content || "(no words)"),
    ]),
  );
}

function pictureOf([caption, content, made]) {
  return make(
    "figure",
    { class: made ? "picture made" : "picture", "aria-label": caption },
    make("img", { src: content, alt: caption }),
    make("figcaption", {}, caption),
  );
}
