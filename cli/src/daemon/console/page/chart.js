// The last minutes as a small picture. Its numbers stand beside it: to whoever cannot see it, it says nothing new.

const SVG = "http://www.w3.org/2000/svg";
const WIDTH = 600;
const HEIGHT = 100;

export function svg(tag, attributes = {}, ...children) {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

/** A line over an area; `kind` gives its colour. */
export class Spark {
  constructor(kind) {
    this.area = svg("path", { class: "area" });
    this.line = svg("path");
    this.node = svg(
      "svg",
      { class: `spark ${kind}`, viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", "aria-hidden": "true" },
      this.area,
      this.line,
    );
  }

  /** Shows values, the last at the right edge. Its height is the largest value's, or `top`'s. */
  show(values, top = 0) {
    const length = values?.length ?? 0;
    if (length === 0) return;
    // Several values share a step where there are more of them than the eye can tell apart; the largest is shown.
    const share = Math.max(1, Math.floor(length / 150));
    const points = [];
    for (let end = length; end > 0; end -= share) {
      points.push(Math.max(...values.slice(Math.max(0, end - share), end)));
    }
    // Of nothing there is a line at the bottom.
    const largest = Math.max(top || 1, ...points);
    const steps = 600 / share;
    const at = (value, index) => {
      const x = WIDTH - (index * WIDTH) / steps;
      return `${x.toFixed(1)} ${(HEIGHT - 2 - (value / largest) * (HEIGHT - 4)).toFixed(1)}`;
    };
    const line = points.map(at).join("L");
    const last = WIDTH - ((points.length - 1) * WIDTH) / steps;
    this.line.setAttribute("d", `M${line}`);
    this.area.setAttribute("d", `M${WIDTH} ${HEIGHT}L${line}L${last.toFixed(1)} ${HEIGHT}Z`);
  }
}

/** A column of a table that shows each row's last minutes. */
export function trend(title, kind, values) {
  const sparks = new WeakMap();
  return {
    title,
    kind: "trend",
    cell(row, cell) {
      let spark = sparks.get(cell);
      if (!spark) {
        spark = new Spark(kind);
        sparks.set(cell, spark);
        cell.append(spark.node);
      }
      spark.show(values(row));
    },
  };
}
