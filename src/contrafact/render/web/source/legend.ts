// Legends of signed colours: the bar has the colours that lie on the picture.

import { el, short } from "./page";
import { AGAINST, FOR } from "./pixels";
import { type StripAbout } from "./types";

/** A bar of the colours as blended: over the middle grey of the picture, as opaque as they are on it. */
export function scaleBar(opacity: number, dim = 1): HTMLElement {
  const grey = 128 * dim, blend = (colour: number[]): string =>
    `rgb(${colour.map(part => Math.round(part * opacity + grey * (1 - opacity))).join(",")})`;
  const bar = el("div", { class: "scale", "aria-hidden": "true" });
  bar.style.background = `linear-gradient(90deg,${blend(AGAINST)},rgb(${grey},${grey},${grey}),${blend(FOR)})`;
  return bar;
}

/** The two ends of a bar with the middle, in words. */
export function ends(left: string, middle: string, right: string): HTMLElement {
  return el("div", { class: "ends" }, ...[left, middle, right].map(text => el("span", {}, text)));
}

export const DIM = 0.35, OVER = 0.95; // of difference pictures: the grey of the original, and the colours over it

/** The legend of a difference picture, with a note where the change lies outside the scale. */
export function differenceLegend(scale: StripAbout["difference"], change: Float32Array): HTMLElement[] {
  const most = change.reduce((best, value) => Math.max(best, Math.abs(value)), 0);
  const over = change.reduce((count, value) => count + (Math.abs(value) > scale.scale ? 1 : 0), 0) / change.length;
  const said = most === 0 ? "Nothing changed." : over > 0 ? `${over < 0.01 ? "Under 1" : (100 * over).toFixed(0)} % of the pixels change by more, up to ${short(most)}.`
    : most < 0.1 * scale.scale ? `The change is far below full colour: at most ${short(most)}.` : `Largest change: ${short(most)}.`;
  return [scaleBar(OVER, DIM), ends(`darker by ${short(scale.scale)}`, "no change", `brighter by ${short(scale.scale)}`),
    el("p", { class: "dim small" }, `${scale.words.charAt(0).toUpperCase()}${scale.words.slice(1)}. ${said}`.replaceAll(" %", "\u00a0%"))];
}
