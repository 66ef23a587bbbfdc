/** The form on the trust center's public page, and examples of requests. */
import { followNext } from "./channel.js";
import { announce, at, h } from "./dom.js";
import { act } from "./store.js";

export function listenToCustomers() {
  const form = at("ask");
  const said = h("p", { class: "quiet", role: "status" });
  at("examples").after(said);
  const sent = ({ problem }) => {
    said.textContent = problem || "Sent. Its card is about to appear in Slack.";
    if (!problem) followNext();
    announce(said.textContent);
  };
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const answer = await act("ask", { email: form.elements.email.value, message: form.elements.message.value });
    sent(answer);
    if (!answer.problem) form.reset();
  });
  at("examples").addEventListener("click", async ({ target }) => {
    if (target.dataset.example) sent(await act("example", { name: target.dataset.example }));
  });
}
