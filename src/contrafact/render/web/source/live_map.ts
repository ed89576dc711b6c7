// The heatmap of a live explanation.

import { painter, slider, trustCard } from "./controls";
import { el } from "./page";
import { draw, fit, getValues, greyPixels, signedPixels } from "./pixels";
import { type MapAbout, type View } from "./types";
import { faint, legendOf, turned } from "./where";

/** A heatmap over the image, with its legend and checks. */
export function mapSection(map: MapAbout, view: View): HTMLElement {
  const canvas = el("canvas", { role: "img", width: 512, height: 512, "aria-label": `the image with the map ${map.label} for ${map.target_name} over it` });
  let opacity = 0.85;
  const paint = painter(async () => {
    const image = await getValues(map.row, "image", view.slice), found = await getValues(map.row, "values", view.slice);
    const [, height, width] = image.shape, context = fit(canvas, height, width, view.aspect);
    draw(context, greyPixels(image, view.window));
    draw(context, signedPixels(turned(found.data, map.sign), found.shape[2], found.shape[1], map.scale, opacity));
  });
  view.redraw.push(paint);
  paint();
  return el("section", { class: "card", "aria-labelledby": `map-${map.row}` },
    el("h2", { id: `map-${map.row}` }, `Where: ${map.label} for ${map.target_name}`),
    el("div", { class: "columns" },
      el("div", {}, el("div", { class: "stage" }, canvas), el("div", { class: "legend" },
        ...legendOf(map, map.scale, faint(map)))),
      el("div", { class: "controls" }, slider("Opacity", { min: 0, max: 100, step: 1, value: 85 }, v => `${v} %`, v => { opacity = v / 100; paint(); }).box),
      el("div", { class: "beside" }, trustCard(map.trust))));
}
