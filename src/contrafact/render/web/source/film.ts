// All frames of a counterfactual in a row; the one that is shown is marked, a click selects another.

import { painter } from "./controls";
import { el } from "./page";
import { draw, frameOf, getValues, greyPixels, type Values } from "./pixels";
import { type StripAbout, type View } from "./types";

export function film(strip: StripAbout, view: View, picked: (k: number) => void): { box: HTMLElement; mark: (at: number) => void } {
  const canvases = strip.order.map(() => el("canvas", { width: 96, height: 96, "aria-hidden": "true" }));
  const again = el("canvas", { width: 96, height: 96, role: "img", "aria-label": "reconstruction of the image by the generator" });
  const paint = painter(async () => {
    const frames = await getValues(strip.row, "frames", view.slice);
    const values = await getValues(strip.row, "reconstruction", view.slice);
    canvases.forEach((canvas, k) => small(canvas, frameOf(frames, strip.order[k]), view, strip.aspect));
    small(again, values, view, strip.aspect);
  });
  view.redraw.push(paint);
  paint();
  const buttons = canvases.map((canvas, k) => {
    const button = el("button", { type: "button", class: k === strip.origin ? "frame origin" : "frame" }, canvas,
      el("span", {}, strip.kinds[k]), el("b", {}, strip.levels[k]));
    button.addEventListener("click", () => picked(k));
    return button;
  });
  const box = el("div", { class: "film", role: "group", "aria-label": "all frames" }, ...buttons,
    el("figure", { class: "frame" }, again, el("figcaption", {}, "synthetic: reconstruction")));
  const mark = (at: number): void => buttons.forEach((button, k) => {
    if (k === Math.round(at)) button.setAttribute("aria-current", "true"); else button.removeAttribute("aria-current");
  });
  return { box, mark };
}

export function small(canvas: HTMLCanvasElement, values: Values, view: View, aspect: number): void {
  const [, height, width] = values.shape;
  canvas.height = Math.max(1, Math.round(canvas.width * height * aspect / width));
  draw(canvas.getContext("2d")!, greyPixels(values, view.window));
}
