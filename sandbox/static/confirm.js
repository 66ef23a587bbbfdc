/** Block Kit's confirm dialog: “Are you sure?” */
import { at, h } from "./dom.js";
import { text } from "./text.js";

/** Ask the person, and resolve to whether they confirm. */
export function confirm({ title, text: words, confirm: yes, deny: no, style }) {
  const dialog = at("confirm");
  return new Promise((resolve) => {
    const answer = (value) => () => dialog.close(value);
    dialog.replaceChildren(
      h("h2", { id: "confirm-title" }, text(title)),
      h("p", {}, text(words)),
      h(
        "footer",
        {},
        h("button", { type: "button", class: "button", onclick: answer("") }, no ? text(no) : "Cancel"),
        h("button", { type: "button", class: `button ${style || "primary"}`, onclick: answer("yes") }, yes ? text(yes) : "Yes"),
      ),
    );
    dialog.returnValue = "";
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true });
    dialog.showModal();
  });
}
