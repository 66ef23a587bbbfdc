/** Draws the blocks that the app uses. In the place of any other block stands a note that it is not drawn. */
import { h, newId } from "./dom.js";
import { element } from "./elements.js";
import { notDrawn, richText } from "./richtext.js";
import { text } from "./text.js";

const LONG = { characters: 700, lines: 8 };
const opened = new Set(); // the long texts that the person has opened with “See more”

const DRAW = {
  __proto__: null,
  header: (block) => h("h3", { class: "header" }, text(block.text)),
  section,
  context: (block) => h("div", { class: "context" }, block.elements.map(contextPart)),
  actions: (block, place) =>
    h("div", { class: "actions" }, block.elements.map((each) => element(each, block, place))),
  input,
  rich_text: richText,
  divider: () => h("hr"),
};

/** Return the blocks as nodes. `place` holds what was chosen in them and what a click does. */
export function draw(blocks, place) {
  return blocks.map((block) => {
    const drawn = (DRAW[block.type] || ((unknown) => h("p", {}, notDrawn(unknown.type))))(block, place);
    drawn.classList.add("block");
    drawn.dataset.block = block.block_id;
    return drawn;
  });
}

function section(block, place) {
  const body = h("div", { class: "body" });
  if (block.text) body.append(paragraph(block));
  if (block.fields) {
    body.append(h("div", { class: "fields" }, block.fields.map((field) => h("p", {}, text(field)))));
  }
  return h("div", { class: "section" }, body, block.accessory && element(block.accessory, block, place));
}

/** Return the text of a section. As in Slack, a long one is cut off with “See more” unless `expand` is set. */
function paragraph(block) {
  const shown = h("p", {}, text(block.text));
  const { characters, lines } = LONG;
  const isLong = block.text.text.length > characters || block.text.text.split("\n").length > lines;
  if (block.expand || !isLong) return shown;
  const words = block.text.text;
  const more = h("button", { type: "button", class: "link", "data-name": `more of ${words}` });
  const show = (open) => {
    shown.classList.toggle("clipped", !open);
    more.setAttribute("aria-expanded", open);
    more.textContent = open ? "See less" : "See more";
    opened[open ? "add" : "delete"](words);
  };
  more.addEventListener("click", () => show(!opened.has(words)));
  show(opened.has(words));
  return h("div", {}, shown, more);
}

function contextPart(part) {
  return part.type === "image" ? notDrawn("image") : h("span", {}, text(part));
}

function input(block, place) {
  const ids = { input: newId(), label: newId(), hint: newId(), error: newId() };
  const error = place.errors?.[block.block_id];
  const described = [block.hint && ids.hint, error && ids.error].filter(Boolean).join(" ");
  return h(
    "div",
    { class: "input" },
    h(
      "label",
      { for: ids.input, id: ids.label },
      text(block.label),
      block.optional && h("span", { class: "quiet" }, " (optional)"),
    ),
    element(block.element, block, place, {
      id: ids.input,
      "aria-labelledby": ids.label,
      "aria-describedby": described || null,
      "aria-invalid": error ? "true" : null,
      "aria-required": block.optional ? null : "true",
    }),
    error && h("p", { class: "problem", id: ids.error }, error),
    block.hint && h("p", { class: "quiet", id: ids.hint }, text(block.hint)),
  );
}
