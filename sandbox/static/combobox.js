/** An input in which a person types to find options, and picks one or several of them. */
import { h, newId } from "./dom.js";

const PAUSE = 150;
const labels = new Map();

export function combobox({ many, labelled, place, placeholder, known, chosen, least, load, change }) {
  const learn = (options) => options.forEach((option) => labels.set(`${place} ${option.value}`, option.text.text));
  learn(known);
  const listId = newId();
  const chips = h("ul", { class: "chips", "aria-label": "Chosen" });
  const listbox = h("ul", { role: "listbox", id: listId, hidden: true, "aria-multiselectable": many ? "true" : null });
  const input = h("input", {
    ...labelled,
    role: "combobox",
    autocomplete: "off",
    placeholder,
    "aria-controls": listId,
    "aria-expanded": "false",
    "aria-autocomplete": "list",
    "data-name": `${place} typing`,
  });
  let values = [...chosen];
  let active = -1;
  let asked = 0;
  let timer;

  const options = () => [...listbox.querySelectorAll("[role=option]")];

  function activate(index) {
    active = index;
    options().forEach((option, place) => option.classList.toggle("active", place === index));
    const current = options()[index];
    if (current) {
      input.setAttribute("aria-activedescendant", current.id);
      current.scrollIntoView({ block: "nearest" });
    } else input.removeAttribute("aria-activedescendant");
  }

  function open(content) {
    listbox.replaceChildren(...content);
    listbox.hidden = false;
    listbox.scrollIntoView({ block: "nearest" });
    input.setAttribute("aria-expanded", "true");
    activate(options().length ? 0 : -1);
  }

  function close() {
    clearTimeout(timer);
    asked += 1;
    listbox.hidden = true;
    input.setAttribute("aria-expanded", "false");
    activate(-1);
  }

  function set(fresh) {
    values = fresh;
    drawChips();
    change(values);
  }

  function pick(value) {
    const others = values.filter((each) => each !== value);
    if (many) set(others.length === values.length ? [...values, value] : others);
    else set([value]);
    input.value = "";
    close();
  }

  function drawChips() {
    chips.replaceChildren(
      ...values.map((value) => {
        const label = labels.get(`${place} ${value}`) || value;
        const remove = () => {
          set(values.filter((each) => each !== value));
          input.focus();
        };
        return h("li", {}, label, h("button", { type: "button", "aria-label": `Remove ${label}`, onclick: remove }, "×"));
      }),
    );
  }

  function option({ value, text }) {
    return h(
      "li",
      {
        role: "option",
        id: newId(),
        "aria-selected": values.includes(value) ? "true" : "false",
        onmousedown: (event) => event.preventDefault(),
        onclick: () => pick(value),
      },
      text.text,
    );
  }

  async function showOptions() {
    const typed = input.value;
    if (typed.length < least) return close();
    const mine = (asked += 1);
    if (listbox.hidden) open([h("li", { class: "quiet" }, "Looking…")]);
    const answer = await load(typed);
    if (mine !== asked) return;
    learn(answer.options || []);
    const none = h("li", { class: "quiet" }, answer.problem || "No results");
    open(answer.options?.length ? answer.options.map(option) : [none]);
  }

  input.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(showOptions, PAUSE);
  });
  input.addEventListener("focus", showOptions);
  input.addEventListener("click", () => listbox.hidden && showOptions());
  input.addEventListener("blur", () => {
    input.value = "";
    close();
  });
  input.addEventListener("keydown", (event) => {
    const last = options().length - 1;
    if (event.key === "ArrowDown") listbox.hidden ? showOptions() : activate(Math.min(active + 1, last));
    else if (event.key === "ArrowUp") activate(Math.max(active - 1, 0));
    else if (event.key === "Enter" && active >= 0) options()[active].click();
    else if (event.key === "Escape" && !listbox.hidden) close();
    else if (event.key === "Backspace" && !input.value && values.length) set(values.slice(0, -1));
    else return;
    event.preventDefault();
    event.stopPropagation();
  });
  drawChips();
  return h("div", { class: "combobox" }, chips, input, listbox);
}
