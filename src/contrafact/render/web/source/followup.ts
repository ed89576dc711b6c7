// Later images of the same patient, to compare with the counterfactual.

import { painter } from "./controls";
import { type StripAbout, type View } from "./types";
import { el } from "./page";
import { getValues } from "./pixels";
import { small } from "./film";

export function followupRow(strip: StripAbout, view: View): HTMLElement {
  const canvases = strip.followup.map(later => el("canvas", { width: 160, height: 160, role: "img", "aria-label": `later image ${later.name}` }));
  const paint = painter(async () => {
    for (const [k, canvas] of canvases.entries())
      small(canvas, await getValues(strip.row, `followup_${String(k).padStart(3, "0")}`, view.slice), view, view.aspect);
  });
  view.redraw.push(paint);
  paint();
  const id = `later-${strip.row}`;
  return el("section", { class: "card", "aria-labelledby": id }, el("h2", { id }, "The same patient later"),
    el("div", { class: "film", tabindex: 0, role: "group", "aria-label": "later images" }, ...strip.followup.map((later, k) => el("figure", { class: "frame later" }, canvases[k],
      el("figcaption", {}, el("b", {}, later.name), el("span", { class: "block" }, later.answer))))));
}
