// Connections and who opens them, as `rewire show connections` shows them: the gateway filters and sorts.

import { gateway, ask } from "./gateway.js";
import { element, say, section, Table } from "./elements.js";
import * as text from "./text.js";

export const title = "Connections";

const EVERY = 2000;

/** What becomes of a connection's ends, where that is something else. */
function translation({ protocol, original, reply }) {
  const words = [];
  if (original.source !== reply.destination || original.source_port !== reply.destination_port) {
    words.push(`from ${text.end(reply.destination, reply.destination_port)}`);
  }
  // The identifier of a query stands for both of its ports, and is said with the source.
  const isIdentifier = protocol === "icmp" && original.destination === reply.source;
  if (!isIdentifier && (original.destination !== reply.source || original.destination_port !== reply.source_port)) {
    words.push(`to ${text.end(reply.source, reply.source_port)}`);
  }
  return words.join(" ");
}

function field(label, control) {
  return element("label", {}, label, control);
}

function choice(name, options) {
  const made = options.map(([value, words]) => element("option", { value, text: words }));
  return element("select", { name }, ...made);
}

const ends = (side) => text.end(side.source, side.source_port);

function connectionTable() {
  return new Table({
    caption: "Connections",
    columns: [
      { title: "VPC", cell: (one) => one.original.vpc },
      { title: "Protocol", cell: (one) => one.protocol },
      { title: "State", kind: "less", cell: (one) => text.words(one.state) },
      { title: "Source", kind: "mono", cell: (one) => ends(one.original) },
      { title: "Destination", kind: "mono", cell: (one) => text.end(one.original.destination, one.original.destination_port) },
      { title: "Becomes", kind: "mono", cell: translation },
      { title: "Packets", kind: "number", cell: (one) => text.count(one.original.packets) },
      { title: "Bytes", kind: "number", cell: (one) => text.bytes(one.original.bytes) },
      { title: "Back", kind: "number", cell: (one) => text.count(one.reply.packets) },
      { title: "Bytes", kind: "number", cell: (one) => text.bytes(one.reply.bytes) },
      { title: "Age", kind: "number", cell: (one) => text.duration(one.age_seconds) },
      { title: "Idle", kind: "number", cell: (one) => text.duration(one.idle_seconds) },
      { title: "Ends in", kind: "number", cell: (one) => text.duration(one.expires_seconds) },
    ],
    key: ({ protocol, worker, original }) => [worker, protocol, original.vpc, ends(original), original.destination, original.destination_port].join(),
    empty: "No connection is like that.",
  });
}

function talkerTable() {
  return new Table({
    caption: "Who opens connections",
    columns: [
      { title: "Address", kind: "mono", cell: (one) => one.address },
      { title: "VPC", cell: (one) => one.vpc },
      { title: "Connections", kind: "number", cell: (one) => text.count(one.connections) },
      { title: "Packets", kind: "number", cell: (one) => text.count(one.packets) },
      { title: "Bytes", kind: "number", cell: (one) => text.bytes(one.bytes) },
    ],
    key: (one) => `${one.vpc} ${one.address}`,
    empty: "Nobody has a connection that is like that.",
  });
}

export function open(root) {
  const interfaceChoice = choice("interface", [["", "any"]]);
  const form = element(
    "form",
    { class: "filters", "aria-label": "Which connections" },
    field("Show", choice("talkers", [["", "connections"], ["true", "top talkers"]])),
    field("Address or prefix", element("input", { name: "address", placeholder: "10.1.0.0/24", spellcheck: "false" })),
    field("Port", element("input", { name: "port", class: "short", inputmode: "numeric" })),
    field("Protocol", choice("protocol", [["", "any"], ["tcp", "TCP"], ["udp", "UDP"], ["icmp", "ICMP"]])),
    field("State", element("input", { name: "state", class: "short", placeholder: "any", list: "states", spellcheck: "false" })),
    field("VPC", element("input", { name: "vpc", class: "short", placeholder: "any", list: "vpcs", spellcheck: "false" })),
    field("Came in by", interfaceChoice),
    field("Translated", choice("translated", [["", "either"], ["true", "yes"], ["false", "no"]])),
    field("Idle for, s", element("input", { name: "idle_seconds", class: "short", inputmode: "numeric" })),
    field("Most", choice("sort", [["", "bytes"], ["packets", "packets"], ["age", "age"]])),
    field("Rows", choice("most", [["50", "50"], ["200", "200"], ["1000", "1000"]])),
    element("button", { type: "reset", class: "plain", text: "Clear" }),
  );
  const states = element("datalist", { id: "states" });
  const vpcs = element("datalist", { id: "vpcs" });
  const summary = element("p", { role: "status" });
  const problem = element("p", { class: "problem", role: "alert", hidden: true });
  const connections = connectionTable();
  const talkers = talkerTable();
  talkers.node.hidden = true;
  connections.table.className = "dense";
  const made = section("Connections", summary);
  // On a phone the filters would take the first page.
  const open = !matchMedia("(max-width: 560px)").matches;
  made.append(element("details", { open }, element("summary", { text: "Filters" }), form), states, vpcs, problem, connections.node, talkers.node);
  root.append(made);

  const parameters = () => [...new FormData(form)].filter(([, value]) => value.trim() !== "").map(([name, value]) => [name, value.trim()]);
  let closed = false;
  let number = 0;

  function options(list, names) {
    const known = names.join("\n");
    if (list.dataset.names === known) return;
    list.dataset.names = known;
    list.replaceChildren(...names.map((value) => element("option", { value })));
  }

  async function look() {
    number += 1;
    const mine = number;
    try {
      const found = await ask("connections", parameters());
      // What was asked for meanwhile counts.
      if (closed || mine !== number) return;
      const isTalkers = new FormData(form).get("talkers") === "true";
      const [shown, all] = isTalkers ? [found.talkers.length, found.talker_count] : [found.connections.length, found.count];
      const counts = found.states.map((one) => `${text.count(one.connections)} ${one.protocol} ${text.words(one.state)}`);
      const of = found.count === found.total ? "" : ` of ${text.count(found.total)}`;
      const rest = shown < all ? ` · the first ${text.count(shown)} of ${text.count(all)} are shown` : "";
      say(summary, `${text.count(found.count)}${of}${counts.length > 0 ? `: ${counts.join(", ")}` : ""}${rest}`);
      connections.node.hidden = isTalkers;
      talkers.node.hidden = !isTalkers;
      if (isTalkers) talkers.show(found.talkers);
      else connections.show(found.connections);
      if (parameters().length <= 1) {
        options(states, [...new Set(found.states.map((one) => one.state))]);
        options(vpcs, found.vpcs.map((one) => one.vpc));
      }
      problem.hidden = true;
    } catch (error) {
      if (closed || mine !== number) return;
      say(problem, error.message);
      problem.hidden = gateway.gone !== null;
    }
  }

  // What is asked for stands in the address, so that it can be kept and sent.
  const remember = () => {
    const chosen = parameters().filter(([name, value]) => name !== "most" || value !== "50");
    const query = new URLSearchParams(chosen).toString();
    history.replaceState(null, "", query ? `#connections?${query}` : "#connections");
    look();
  };
  form.addEventListener("input", remember);
  form.addEventListener("reset", () => setTimeout(remember));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    remember();
  });
  const timer = setInterval(() => {
    if (!document.hidden && gateway.gone === null) look();
  }, EVERY);

  return {
    go(_rest, wanted) {
      for (const control of form.elements) {
        if (control.tagName === "SELECT") control.selectedIndex = 0;
        else control.value = "";
      }
      for (const [name, value] of wanted) {
        const control = form.elements.namedItem(name);
        if (control) control.value = value;
      }
      look();
    },
    update() {
      const names = gateway.status?.interfaces.map((one) => one.name) ?? [];
      if (interfaceChoice.options.length !== names.length + 1) {
        const chosen = interfaceChoice.value;
        interfaceChoice.replaceChildren(element("option", { value: "", text: "any" }), ...names.map((name) => element("option", { value: name, text: name })));
        interfaceChoice.value = chosen;
      }
    },
    close() {
      closed = true;
      clearInterval(timer);
    },
  };
}
