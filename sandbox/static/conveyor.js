/** Shows Conveyor's own pages, and the switches for what can go wrong in Slack and Conveyor. */
import { at, h } from "./dom.js";
import { act, all, list, watch } from "./store.js";

const button = (label, what, about, name) =>
  h("button", { type: "button", "aria-label": about, "data-name": name || label, onclick: what }, label);

export function showConveyor() {
  list(at("requests"), "request/", request, "No requests yet.");
  list(at("grants"), "grant/", grant, "Nobody has access yet.");
  list(at("groups"), "group/", group, "No access groups.");
  list(at("faults"), "fault/", fault, "");
  watch("fault/", () => {
    const count = [...all("fault/")].filter((each) => each.on).length;
    document.querySelector("#tabs [data-pane=faults] .badge").textContent = count ? `${count} on` : "";
  });
  const form = at("new-group");
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    act("add_groups", { names: [form.elements.name.value] });
    form.reset();
  });
  at("many-groups").addEventListener("click", () => {
    const regions = ["Americas", "Europe", "Asia"];
    const kinds = ["pricing", "contracts", "questionnaires", "roadmap"];
    act("add_groups", { names: regions.flatMap((region) => kinds.map((kind) => `${region}: ${kind}`)) });
  });
}

function request({ id, email, status, open }) {
  const row = h(
    "li",
    { tabindex: -1, "data-request": id },
    h("span", {}, email, " ", h("em", { class: `status ${status}` }, status)),
    open
      ? h(
          "span",
          { class: "row" },
          button("Approve in Conveyor", () => act("approve_here", { id }), `Approve in Conveyor: ${email}`),
          button("Ignore in Conveyor", () => act("ignore_here", { id }), `Ignore in Conveyor: ${email}`),
        )
      : button("Ask again", () => act("ask_again", { id }), `Ask again: ${email}`),
  );
  return row;
}

function grant({ id, email, status, groups }) {
  return h(
    "li",
    { tabindex: -1 },
    h("span", {}, email, " ", h("em", { class: `status ${status}` }, status === "gated" ? "NDA to sign" : status)),
    h("span", { class: "quiet" }, ["basic access", ...groups].join(", ")),
    status === "gated" && button("Sign the NDA", () => act("sign_nda", { id }), `Sign the NDA as ${email}`),
    status === "authorized" &&
      button("Open a document", () => act("open_document", { id }), `Open a document as ${email}`),
  );
}

function group({ id, name }) {
  const rename = (event) => {
    if (event.target.value.trim()) act("rename_group", { id, name: event.target.value });
    else event.target.value = name;
  };
  return h(
    "li",
    { tabindex: -1, class: "row" },
    h("input", { value: name, "aria-label": `Name of the access group ${name}`, "data-name": "name", onchange: rename }),
    button("Delete", () => act("delete_group", { id }), `Delete the access group ${name}`),
  );
}

function fault({ name, label, on }) {
  const [side] = name.split("-");
  const turn = (event) => act("fault", { name, on: event.target.checked });
  return h(
    "li",
    { tabindex: -1 },
    h(
      "label",
      { class: "check" },
      h("input", { type: "checkbox", role: "switch", checked: on, "data-name": name, onchange: turn }),
      h("span", {}, `${side === "slack" ? "Slack" : "Conveyor"} ${label}`),
    ),
  );
}
