/** Draws buttons, menus and inputs. */
import { combobox } from "./combobox.js";
import { confirm } from "./confirm.js";
import { h } from "./dom.js";
import { menu } from "./menu.js";
import { notDrawn } from "./richtext.js";
import { text } from "./text.js";

const DRAW = {
  __proto__: null,
  button,
  overflow,
  checkboxes: (...all) => boxes("checkbox", ...all),
  radio_buttons: (...all) => boxes("radio", ...all),
  static_select: select,
  external_select: (...all) => found(false, ...all),
  multi_external_select: (...all) => found(true, ...all),
  multi_static_select: (...all) => found(true, ...all),
  datepicker: (element, block, place, labelled) =>
    h("input", {
      type: "date",
      ...labelled,
      value: place.choices.get(block, element) || "",
      onchange: (event) => changed(element, block, place, event.target.value),
    }),
  plain_text_input: textInput,
};

/** Draw an element. `labelled` are the attributes that connect it with the label of its input block. */
export function element(element, block, place, labelled = {}) {
  const drawn = DRAW[element.type]?.(element, block, place, labelled) || notDrawn(element.type);
  const focusable = "a, button, input, select, textarea";
  const first = drawn.matches(focusable) ? drawn : drawn.querySelector(focusable);
  if (first) first.dataset.name ||= element.action_id;
  if (element.focus_on_load) (drawn.querySelector("input:checked") || first).autofocus = true;
  return drawn;
}

/** Remember a choice. It is also sent as a click, except from an input block without dispatch_action. */
function changed(element, block, place, value) {
  place.choices.set(block, element, value);
  if (block.type !== "input" || block.dispatch_action) press(element, block, place, value);
}

async function press(element, block, place, value) {
  if (element.confirm && !(await confirm(element.confirm))) return;
  await place.click(block, element, value);
}

function button(element, block, place) {
  const drawn = h(element.url ? "a" : "button", {
    class: `button ${element.style || ""}`,
    "aria-label": element.accessibility_label,
    ...(element.url ? { href: element.url, target: "_blank", rel: "noopener noreferrer" } : { type: "button" }),
    onclick: async () => {
      if (drawn.ariaBusy === "true") return;
      drawn.ariaBusy = "true";
      await press(element, block, place);
      drawn.ariaBusy = "false";
    },
  });
  drawn.append(...text(element.text));
  return drawn;
}

function overflow(element, block, place) {
  const items = element.options.map((option) => ({
    label: text(option.text),
    url: option.url,
    pick: () => press(element, block, place, option.value),
  }));
  return menu("More actions", items);
}

function boxes(kind, element, block, place, { id, ...labelled }) {
  const chosen = () => [place.choices.get(block, element) || []].flat();
  const choose = (value, on) => {
    if (kind === "radio") return changed(element, block, place, value);
    const others = chosen().filter((each) => each !== value);
    return changed(element, block, place, on ? [...others, value] : others);
  };
  const box = (option) =>
    h(
      "label",
      { class: "check" },
      h("input", {
        type: kind,
        name: `${block.block_id} ${element.action_id} ${place.key}`,
        value: option.value,
        checked: chosen().includes(option.value),
        "data-name": `${element.action_id} ${option.value}`,
        onchange: (event) => choose(option.value, event.target.checked),
      }),
      h("span", {}, text(option.text), option.description && h("small", {}, text(option.description))),
    );
  return h(
    "div",
    { role: kind === "radio" ? "radiogroup" : "group", class: "boxes", id, tabindex: -1, ...labelled },
    element.options.map(box),
  );
}

function select(element, block, place, labelled) {
  const chosen = place.choices.get(block, element);
  const option = (each) => {
    const drawn = h("option", { value: each.value }, text(each.text));
    drawn.selected = each.value === chosen;
    return drawn;
  };
  const groups = (element.option_groups || []).map((group) =>
    h("optgroup", { label: group.label.text }, group.options.map(option)),
  );
  return h(
    "select",
    { ...labelled, onchange: (event) => changed(element, block, place, event.target.value) },
    h("option", { value: "" }, element.placeholder ? text(element.placeholder) : "Choose…"),
    (element.options || []).map(option),
    groups,
  );
}

/** A menu in which a person types to find options: the app's suggestions, or those in the element. */
function found(many, element, block, place, labelled) {
  const listed = [...(element.options || []), ...(element.option_groups || []).flatMap((group) => group.options)];
  const matching = (typed) =>
    listed.filter((option) => option.text.text.toLowerCase().includes(typed.toLowerCase()));
  const external = element.type.includes("external");
  return combobox({
    many,
    labelled,
    place: `${place.key} ${element.action_id}`,
    placeholder: element.placeholder?.text,
    known: [...listed, ...(element.initial_options || []), element.initial_option].filter(Boolean),
    chosen: [place.choices.get(block, element) || []].flat(),
    least: external ? (element.min_query_length ?? 3) : 0,
    load: (typed) => (external ? place.suggest(element, typed) : { options: matching(typed) }),
    change: (values) => changed(element, block, place, many ? values : values[0]),
  });
}

function textInput(element, block, place, labelled) {
  const input = h(element.multiline ? "textarea" : "input", {
    ...labelled,
    value: place.choices.get(block, element) || "",
    placeholder: element.placeholder?.text,
    autocomplete: "off",
    ...(element.multiline ? { rows: 4 } : { type: "text" }),
  });
  const left = h("span", { class: "left quiet" });
  const count = () => {
    const rest = (element.max_length || 3000) - input.value.length;
    left.textContent = rest < 100 ? rest : "";
    left.classList.toggle("problem", rest < 0);
  };
  input.addEventListener("input", () => {
    place.choices.set(block, element, input.value);
    count();
  });
  if (block.dispatch_action && !element.multiline) {
    input.addEventListener("keydown", (event) => {
      if (event.key !== "Enter") return;
      event.preventDefault();
      changed(element, block, place, input.value);
    });
  }
  count();
  return h("div", { class: "text-input" }, input, left);
}
