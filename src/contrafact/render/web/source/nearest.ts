// Real cases on the other side of the decision, the nearest to the image: nothing in them is generated.

import { painter } from "./controls";
import { type Nearest, type View } from "./types";
import { el } from "./page";
import { getValues } from "./pixels";
import { small } from "./film";

/** The real cases that are stored with a result of that row; none where it has none. */
export function nearestOf(nearest: Nearest[], row: number | string, view: View): HTMLElement[] {
  return nearest.filter(one => one.row === row).map(one => nearestRow(one, view));
}

/** The real cases of a live answer: those that the run holds of the image for the same target. */
export function nearestOfTarget(nearest: Nearest[], target: string, view: View): HTMLElement {
  const found = nearest.find(one => one.target === target);
  if (found) {
    const row = nearestRow(found, view);
    row.removeAttribute("aria-labelledby"); // the page has a landmark of that name
    return row;
  }
  return el("p", { class: "dim" }, "The run holds no real cases for this target: contrafact explain with --cases FOLDER finds the nearest.");
}

let made = 0;

function nearestRow(near: Nearest, view: View): HTMLElement {
  const canvases = near.cases.map(real => el("canvas", { width: 160, height: 160, role: "img", "aria-label": `real case ${real.name}` }));
  const [low, high] = [view.window.low, view.window.high];
  const paint = painter(async () => {
    for (const [k, canvas] of canvases.entries()) {
      const real = near.cases[k], same = real.window[0] === low && real.window[1] === high;
      const shown = same ? view : { ...view, window: { low: real.window[0], high: real.window[1] } };
      small(canvas, await getValues(near.row, real.array, view.slice), shown, real.aspect);
    }
  });
  view.redraw.push(paint);
  paint();
  const id = `nearest-${near.row}-${++made}`; // a live answer shows them again
  return el("section", { class: "card", "aria-labelledby": id }, el("h2", { id }, near.heading), el("p", { class: "dim" }, near.words),
    el("div", { class: "film", tabindex: 0, role: "group", "aria-label": "real cases" }, ...near.cases.map((real, k) => el("figure", { class: "frame later" }, canvases[k],
      el("figcaption", {}, el("b", { class: "mark real" }, "REAL"), " ", real.name, el("b", { class: "block" }, real.answer.replaceAll(" %", "\u00a0%")),
        real.label && el("span", { class: "block" }, `labelled ${real.label}`),
        ...real.place.map(line => el("span", { class: "block" }, line)))))));
}
