// The packet tracer: a packet in words, and its way through the graph with the objects of the configuration that decided it.

import { ask } from "./gateway.js";
import { element, say, section } from "./elements.js";

export const title = "Trace";

export function open(root) {
  const packet = element("input", {
    name: "packet",
    id: "packet",
    class: "packet mono",
    placeholder: "10.1.0.10:40000 > 198.51.100.1:443 tcp syn",
    spellcheck: "false",
    autocomplete: "off",
    required: true,
  });
  const on = element("input", { name: "on", class: "short", inputmode: "numeric", placeholder: "last" });
  const button = element("button", { class: "plain", text: "Trace" });
  const form = element(
    "form",
    { class: "filters", "aria-label": "Which packet" },
    element("label", { class: "long" }, "Packet", packet),
    element("label", {}, "Revision", on),
    button,
  );
  const problem = element("p", { class: "problem", role: "alert", hidden: true });
  const result = element("pre", { class: "diff", tabindex: "0", "aria-label": "Its walk", hidden: true });
  const help = "As in “rewire trace”: in lan0 10.0.1.5:40000 > 1.1.1.1:443 tcp syn ttl 3. The interface may be left out where the sender's address tells it.";
  const made = section("Where would a packet go?", element("p", { text: "Nothing is changed by it: it walks over tables that are made for it." }));
  made.append(form, element("p", { class: "empty", text: help }), problem, result);
  root.append(made);

  let number = 0;
  async function trace() {
    number += 1;
    const mine = number;
    const parameters = { packet: packet.value.trim() };
    if (on.value.trim()) parameters.on = on.value.trim();
    history.replaceState(null, "", `#trace?${new URLSearchParams(parameters)}`);
    button.disabled = true;
    try {
      const found = await ask("trace", parameters);
      if (mine !== number) return;
      say(result, found.text.trimEnd());
      result.hidden = false;
      problem.hidden = true;
    } catch (error) {
      if (mine !== number) return;
      say(problem, error.message);
      problem.hidden = false;
      result.hidden = true;
    } finally {
      button.disabled = false;
    }
  }
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    trace();
  });

  return {
    go(_rest, wanted) {
      packet.value = wanted.get("packet") ?? "";
      on.value = wanted.get("on") ?? "";
      if (packet.value) trace();
    },
  };
}
