// Where the model looks: the image with a heatmap over it.

import { choice, madeBy, painter, slider, trustCard } from "./controls";
import { type ImageAbout, type MapAbout, type View } from "./types";
import { el, plural, short } from "./page";
import { contour, draw, drawContour, fit, getValues, greyPixels, percentile, signedPixels } from "./pixels";

export function whereSection(image: ImageAbout, maps: MapAbout[], view: View): HTMLElement {
  const state = { map: maps[0] as MapAbout | undefined, opacity: 0.85, level: 0, own: faint(maps[0]), hidden: false };
  const canvas = el("canvas", { role: "img", width: 512, height: 512 });
  const stage = el("div", { class: "stage", tabindex: 0, role: "group",
    "aria-label": "image with map. H hides the map, drag changes the window" }, canvas);
  const readout = el("p", { class: "dim small under" }, "Point at the image to read values.");
  const legend = el("div", { class: "legend" }), beside = el("div", { class: "beside" });

  const paint = painter(async () => {
    const row = state.map?.row ?? image.row, map = state.map;
    const values = await getValues(row, "image", view.slice);
    const [, height, width] = values.shape, context = fit(canvas, height, width, view.aspect);
    draw(context, greyPixels(values, view.window));
    if (map) {
      const found = await getValues(map.row, "values", view.slice);
      const scale = state.own ? map.own : map.shared;
      if (!state.hidden) {
        draw(context, signedPixels(turned(found.data, map.sign), found.shape[2], found.shape[1], scale, state.opacity));
        if (state.level > 0) {
          const level = percentile(found.data.map(Math.abs), state.level / 100);
          drawContour(context, contour(found.data, found.shape[2], found.shape[1], level), found.shape[2], found.shape[1]);
        }
      }
      legend.replaceChildren(...legendOf(map, scale, state.own));
    }
    canvas.setAttribute("aria-label", map && !state.hidden
      ? `the image with the map ${map.label} for ${map.target_name} over it` : "the image alone");
  });
  view.redraw.push(paint);

  const picked = (row: string): void => {
    state.map = maps.find(map => String(map.row) === row);
    state.own = faint(state.map);
    if (scales) scales.querySelector<HTMLInputElement>(`input[value=${state.own ? "own" : "fixed"}]`)!.checked = true;
    if (state.map && view.slice !== undefined) slices?.set(view.slice);
    beside.replaceChildren(...besideOf(state.map));
    paint();
  };
  const slices = view.slice === undefined ? null : slider("Slice", { min: 0, max: image.slices - 1, step: 1, value: view.slice },
    at => `${at + 1} of ${image.slices}`, at => { view.slice = at; view.redraw.forEach(again => again()); });
  const scales = maps.length > 0 && choice("Scale", [["fixed", "cohort"], ["own", "per image"]], state.own ? "own" : "fixed",
    v => { state.own = v === "own"; paint(); });
  const hide = el("input", { type: "checkbox" });
  hide.addEventListener("change", () => { state.hidden = hide.checked; paint(); });
  stage.addEventListener("keydown", event => {
    if (event.key.toLowerCase() === "h") { hide.checked = !hide.checked; state.hidden = hide.checked; paint(); }
  });
  const windows = windowControls(image, view, stage);
  readValues(canvas, image, view, () => state.map, readout);
  beside.replaceChildren(...besideOf(state.map));
  paint();

  const controls = el("div", { class: "controls" },
    maps.length > 0 && choice("Map", maps.map(m => [String(m.row), nameOf(m, maps)]), String(maps[0].row), picked),
    slices?.box,
    maps.length > 0 && slider("Opacity", { min: 0, max: 100, step: 1, value: 85 }, v => `${v} %`,
      v => { state.opacity = v / 100; paint(); }).box,
    maps.length > 0 && slider("Contour", { min: 0, max: 99, step: 1, value: 0 },
      v => v ? `the strongest ${100 - v} %` : "off", v => { state.level = v; paint(); }).box,
    scales,
    ...windows,
    maps.length > 0 && el("label", { class: "check" }, hide, " Hide the map (H)"));
  return el("section", { class: "card", "aria-labelledby": "where" }, el("h2", { id: "where" }, "Where the model looks"),
    !maps.length && el("p", { class: "dim" }, "This case has no heatmaps."),
    el("div", { class: "columns" }, el("div", {}, stage, maps.length > 0 && legend, readout), controls, beside));
}

function nameOf(map: MapAbout, maps: MapAbout[]): string {
  return new Set(maps.map(m => m.target)).size > 1 ? `${map.label}, ${map.target_name}` : map.label;
}

function besideOf(map: MapAbout | undefined): HTMLElement[] {
  return map ? [trustCard(map.trust), madeBy(map)] : [];
}

/** Whether a map is so weak that the per-image scale is shown first. */
export const faint = (map: MapAbout | undefined): boolean => map !== undefined && map.scale < map.shared;

/** Values with the sign of their colour: orange is positive. */
export const turned = (data: Float32Array, sign: number): Float32Array => sign < 0 ? data.map(value => -value) : data;

/** `×48: per-image scale`: the factor by which colours are stronger than on the cohort scale. */
export function ownScaleWords(map: MapAbout): string {
  const factor = map.shared / map.own;
  return `×${factor.toFixed(factor >= 9.95 ? 0 : 1)}: per-image scale, not comparable with other maps; the cohort scale is ±${short(map.shared)}`;
}

/** The legend of a map: colour bar, meaning of orange and blue, and the scale. */
export function legendOf(map: MapAbout, scale: number, own: boolean): HTMLElement[] {
  const [seen, there] = map.scale_from;
  const from = !there ? "Per-image scale: not comparable with other maps" : own ? ownScaleWords(map)
    : `Cohort scale: ${plural(there, "map")} of this model by ${map.method}` + (seen < there ? ` (estimated from ${seen} of them)` : "");
  return [
    el("div", { class: "scale", "aria-hidden": "true" }),
    el("div", { class: "ends" }, el("span", {}, `${map.blue}: ${short(scale)}`), el("span", {}, `${map.orange}: ${short(scale)}`)),
    el("p", { class: "dim small" }, `Target: ${map.target_name}. Orange: evidence ${map.orange}; blue: ${map.blue}. ${from}.`),
    ...(map.flaw ? [el("p", { class: "doubt" }, map.flaw)] : [])];
}

/** A value with the class that it is evidence for. */
function evidence(map: MapAbout, value: number): string {
  return value === 0 ? "0" : `${short(Math.abs(value))} ${value * map.sign > 0 ? map.orange : map.blue}`;
}

export function windowControls(image: ImageAbout, view: View, stage: HTMLElement): HTMLElement[] {
  const [low, high] = image.window, span = Math.max(image.range[1] - image.range[0], high - low, 1e-6);
  const least = Math.min(image.range[0], low), most = Math.max(image.range[1], high);
  const centre = () => (view.window.low + view.window.high) / 2, width = () => view.window.high - view.window.low;
  const set = (middle: number, wide: number): void => {
    const kept = Math.max(span / 256, Math.min(2 * span, wide)), at = Math.max(least, Math.min(most, middle));
    view.window.low = at - kept / 2;
    view.window.high = at + kept / 2;
    level.set(at);
    wider.set(kept);
    view.redraw.forEach(again => again());
  };
  const level = slider("Level", { min: least, max: most, step: "any", value: centre() }, short, v => set(v, width()));
  const wider = slider("Window", { min: span / 256, max: 2 * span, step: "any", value: width() }, short, v => set(centre(), v));
  const reset = el("button", { type: "button" }, "Reset window");
  reset.addEventListener("click", () => set((low + high) / 2, high - low));
  let from: { x: number; y: number; middle: number; wide: number } | null = null;
  stage.addEventListener("pointerdown", event => {
    if (event.pointerType === "touch") return; // a finger scrolls
    from = { x: event.clientX, y: event.clientY, middle: centre(), wide: width() };
    stage.setPointerCapture(event.pointerId);
  });
  stage.addEventListener("pointermove", event => {
    if (from) set(from.middle + (event.clientY - from.y) / 300 * span, from.wide + (event.clientX - from.x) / 300 * span);
  });
  for (const end of ["pointerup", "pointercancel"]) stage.addEventListener(end, () => { from = null; });
  return [level.box, wider.box, reset];
}

function readValues(
  canvas: HTMLCanvasElement, image: ImageAbout, view: View, map: () => MapAbout | undefined, readout: HTMLElement,
): void {
  canvas.addEventListener("pointermove", async event => {
    const box = canvas.getBoundingClientRect(), chosen = map();
    const values = await getValues(chosen?.row ?? image.row, "image", view.slice).catch(() => null);
    const found = chosen && await getValues(chosen.row, "values", view.slice).catch(() => null);
    if (!values) return;
    const [channels, height, width] = values.shape;
    const x = Math.floor((event.clientX - box.left) / box.width * width);
    const y = Math.floor((event.clientY - box.top) / box.height * height);
    if (x < 0 || y < 0 || x >= width || y >= height) return;
    const grey = Array.from({ length: channels }, (_, c) => short(values.data[(c * height + y) * width + x]));
    const said = found && chosen ? `, map ${evidence(chosen, found.data[y * width + x])}` : "";
    readout.textContent = `column ${x}, row ${y}: image ${grey.join(" ")}${said}`;
  });
}
