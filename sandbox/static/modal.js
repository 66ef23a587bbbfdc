/** Shows the modal that the app has opened for this person, if any. */
import { draw } from "./blocks.js";
import { choicesOf } from "./choices.js";
import { at, h } from "./dom.js";
import { act, get, here, watch } from "./store.js";
import { text } from "./text.js";

const dialog = at("modal");
let opener; // the ts of the clicked message, which gets the focus back
let shown; // the id of the modal on the screen
let content; // its blocks

export function showModals() {
  watch("view", () => {
    const view = get("view");
    if (view) show(view);
    else hide();
  });
  dialog.addEventListener("cancel", (event) => {
    event.preventDefault();
    close();
  });
}

function hide() {
  if (!dialog.open) return;
  shown = content = null;
  dialog.close();
  refocus();
  // The browser may look for the button once more when it draws the page.
  requestAnimationFrame(() => requestAnimationFrame(refocus));
}

/** The button that opened the modal may be gone by now, but its message is still there. */
function refocus() {
  const focused = document.activeElement;
  if (opener && !dialog.open && (!focused || focused === document.body || dialog.contains(focused))) {
    document.querySelector(`[data-ts="${opener}"] article`)?.focus();
  }
}

function show(view, errors = view.errors, problem = view.problem) {
  const place = {
    key: view.id,
    errors,
    choices: choicesOf(view.id),
    click: async (block, element, value) => {
      const answer = await act("view_click", {
        person: here.person,
        window: here.window,
        view_id: view.id,
        action_id: element.action_id,
        block_id: block.block_id,
        values: place.choices.made(view.blocks),
        value,
      });
      if (answer.problem) show(get("view") || view, {}, answer.problem);
    },
    suggest: (element, typed) =>
      act("suggest", { person: here.person, action_id: element.action_id, typed, view_id: view.id }),
  };
  if (shown === view.id) place.choices.keep(content);
  const title = h("h2", { id: "modal-title", tabindex: -1 }, text(view.title));
  const form = h(
    "form",
    { novalidate: true, onsubmit: (event) => submit(event, view, place) },
    h("header", {}, title, h("button", { type: "button", class: "link", "aria-label": "Close the window", onclick: close }, "✕")),
    h(
      "div",
      { class: "content" },
      problem && h("p", { class: "problem", role: "alert" }, problem),
      draw(view.blocks, place),
    ),
    h(
      "footer",
      {},
      h("button", { type: "button", class: "button", onclick: close }, view.close ? text(view.close) : "Cancel"),
      view.submit && h("button", { type: "submit", class: "button primary" }, text(view.submit)),
    ),
  );
  form.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) form.requestSubmit();
  });
  const { name } = document.activeElement?.dataset || {};
  const again = shown === view.id && name && form.querySelector(`[data-name="${CSS.escape(name)}"]`);
  const scrolled = shown === view.id ? dialog.querySelector(".content")?.scrollTop : 0;
  dialog.replaceChildren(form);
  form.querySelector(".content").scrollTop = scrolled;
  if (!dialog.open) {
    opener = document.activeElement?.closest("[data-ts]")?.dataset.ts;
    dialog.showModal();
  } else {
    (form.querySelector("[aria-invalid]") || again || (shown === view.id && form.querySelector("[autofocus]")) || title).focus();
  }
  shown = view.id;
  content = view.blocks;
}

async function submit(event, view, place) {
  event.preventDefault();
  const errors = problems(view.blocks, place.choices);
  if (Object.keys(errors).length) return show(view, errors, "");
  const button = event.submitter || event.target.querySelector("[type=submit]");
  if (button.ariaBusy === "true") return null;
  button.ariaBusy = "true";
  const values = place.choices.made(view.blocks);
  const { problem } = await act("submit", { person: here.person, view_id: view.id, values });
  const now = get("view");
  // The server sends nothing if the errors are the same as before, so they are shown again here.
  if (now?.id === view.id) show(now, now.errors, problem || now.problem);
  return null;
}

/** Return the errors that Slack's client finds by itself: required inputs and lengths. White space counts as text. */
function problems(blocks, choices) {
  const found = {};
  for (const { type, block_id: id, optional, element } of blocks) {
    if (type !== "input") continue;
    const value = choices.get({ block_id: id }, element);
    const empty = value === undefined || value === null || value.length === 0;
    if (empty && !optional) found[id] = "Please complete this required field.";
    else if (typeof value === "string" && value.length > (element.max_length || 3000)) {
      found[id] = `Please keep it to ${element.max_length || 3000} characters.`;
    } else if (typeof value === "string" && !empty && value.length < (element.min_length || 0)) {
      found[id] = `Please write at least ${element.min_length} characters.`;
    } else if (Array.isArray(value) && value.length > (element.max_selected_items || Infinity)) {
      found[id] = `Please choose at most ${element.max_selected_items}.`;
    }
  }
  return found;
}

async function close() {
  await act("close", { person: here.person, view_id: shown });
}
