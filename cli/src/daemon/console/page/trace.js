// The packet tracer: a packet in words, and its way through the graph with the objects of the configuration that decided it.

import { ask } from "./gateway.js";
import { element, say, section } from "./elements.js";

export const title = "Trace";

/** What the gateway is asked: a frame is not written as a packet is. */
function question({ packet, ...others }) {
  const [, , name, digits] = packet.match(/^(in\s+(\S+)\s+)?([0-9a-f][0-9a-f\s:.]{26,})$/i) ?? [];
  if (!digits) return { packet, ...others };
  return name ? { frame: digits, in: name, ...others } : { frame: digits, ...others };
}

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
  const on = element("input", { name: "on", class: "short", inputmode: "numeric", placeholder: "as it runs", autocomplete: "off" });
  const against = element("input", { name: "against", class: "short", inputmode: "numeric", placeholder: "none", autocomplete: "off" });
  const reply = element("input", { name: "reply", type: "checkbox" });
  const button = element("button", { class: "plain", text: "Trace" });
  const form = element(
    "form",
    { class: "filters", "aria-label": "Which packet" },
    element("label", { class: "long" }, "Packet", packet),
    element("label", {}, "Under revision", on),
    element("label", {}, "Against revision", against),
    element("label", { class: "check" }, reply, "With its reply"),
    button,
  );
  const problem = element("p", { class: "problem", role: "alert", hidden: true });
  const result = element("pre", { class: "diff", tabindex: "0", "aria-label": "Its walk", hidden: true });
  const help = `As in “rewire trace”: in lan0 10.0.1.5:40000 > 1.1.1.1:443 tcp syn ttl 3. The interface may be left out where the sender's address
    tells it. Or a frame in hexadecimal digits, from its Ethernet header on: in lan0 02 00 5e …. Against another revision, what is different is shown.`;
  const made = section("Where would a packet go?", element("p", { text: "Nothing is changed by it." }));
  made.append(form, element("p", { class: "empty", text: help }), problem, result);
  root.append(made);

  /** Two walks are compared without their replies. */
  const settle = () => {
    reply.disabled = against.value.trim() !== "";
  };
  against.addEventListener("input", settle);

  let number = 0;
  async function trace() {
    number += 1;
    const mine = number;
    const parameters = { packet: packet.value.trim() };
    for (const field of [on, against]) {
      if (field.value.trim()) parameters[field.name] = field.value.trim();
    }
    if (reply.checked && !reply.disabled) parameters.reply = "true";
    history.replaceState(null, "", `#trace?${new URLSearchParams(parameters)}`);
    button.disabled = true;
    try {
      const found = await ask("trace", question(parameters));
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
      against.value = wanted.get("against") ?? "";
      reply.checked = wanted.get("reply") === "true";
      settle();
      if (packet.value) trace();
    },
  };
}
