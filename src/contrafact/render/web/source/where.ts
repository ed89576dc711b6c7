// Where the model looks: the image with a heatmap over it.

import { boxControls } from "./box";
import { choice, madeBy, painter, slider, trustCard } from "./controls";
import { type ImageAbout, type MapAbout, type View } from "./types";
import { ends, scaleBar } from "./legend";
import { el, plural, short } from "./page";
import { Panels } from "./panels";
import { contour, getValues, greyPixels, layerOf, signedPixels, strongest } from "./pixels";
import { sliceControl, windowControls } from "./window";

export const STRONGEST = 10; // per cent inside the contour at first, as in three dimensions

export function whereSection(image: ImageAbout, maps: MapAbout[], view: View): HTMLElement {
  const state = { map: maps[0] as MapAbout | undefined, opacity: 0.85, own: faint(maps[0]), hidden: false };
  view.share ??= STRONGEST;
  const panels = new Panels(["map"], "the image alone", image, view), [canvas] = panels.canvases, [stage] = panels.stages;
  const readout = el("p", { class: "dim small under" }, "Point at the image to read values.");
  const legend = el("div", { class: "legend" }), beside = el("div", { class: "beside" });

  const paint = painter(async () => {
    const row = state.map?.row ?? image.row, map = state.map;
    const values = await getValues(row, "image", view.slice);
    const [, height, width] = values.shape, plain = layerOf(greyPixels(values, view.window)), layers = [plain];
    let lines: number[][] = [];
    if (map) {
      const found = await getValues(map.row, "values", view.slice), scale = state.own ? map.own : map.shared;
      if (!state.hidden) layers.push(layerOf(signedPixels(turned(found.data, map.sign), width, height, scale, state.opacity)));
      if (!state.hidden && view.share! < 100) lines = contour(found.data, width, height, levelOf(map, view.share!, found.data));
      legend.replaceChildren(...legendOf(map, scale, state.own, state.opacity));
    }
    panels.show(0, { height, width, aspect: view.aspect, layers, lines, other: [plain] });
    canvas.setAttribute("aria-label", map && !state.hidden
      ? `the image with the map ${map.label} for ${map.target_name} over it` : "the image alone");
  });
  view.redraw.push(paint);

  const picked = (row: string): void => {
    state.map = maps.find(map => String(map.row) === row);
    state.own = faint(state.map);
    if (scales) scales.querySelector<HTMLInputElement>(`input[value=${state.own ? "own" : "fixed"}]`)!.checked = true;
    beside.replaceChildren(...besideOf(state.map));
    paint();
  };
  const slices = sliceControl(image, view), inner = shareControl("Contour", view);
  const scales = maps.length > 0 && choice("Scale", [["fixed", "cohort"], ["own", "per image"]], state.own ? "own" : "fixed",
    v => { state.own = v === "own"; paint(); });
  const hide = el("input", { type: "checkbox" });
  hide.addEventListener("change", () => { state.hidden = hide.checked; paint(); });
  const box = el("div", { class: "viewing one", tabindex: 0, role: "group",
    "aria-label": "image with map. H hides the map, L is the lens, P the pixels, plus, minus and 0 zoom, F is full screen; drag changes the window" });
  const { buttons, choices } = panels.controls(box);
  box.addEventListener("keydown", event => {
    if (event.ctrlKey || event.altKey || event.metaKey || (event.target !== box && (event.key.startsWith("Arrow") || event.target instanceof HTMLSelectElement))) return;
    if (event.key.toLowerCase() === "h") hide.click();
    else if (event.key.toLowerCase() === "f") buttons[3].click();
    else if (!panels.key(event)) return;
    event.preventDefault();
  });
  const windows = windowControls(image, view, stage);
  readValues(panels, image, view, () => state.map, readout);
  beside.replaceChildren(...besideOf(state.map));
  paint();

  panels.figures[0].append(...(maps.length ? [legend] : []), readout);
  box.append(panels.figures[0], el("div", { class: "controls" },
    maps.length > 0 && choice("Map", maps.map(m => [String(m.row), nameOf(m, maps)]), String(maps[0].row), picked),
    slices?.box,
    maps.length > 0 && slider("Opacity", { min: 0, max: 100, step: 1, value: 85 }, v => `${v} %`,
      v => { state.opacity = v / 100; paint(); }).box,
    maps.length > 0 && inner,
    scales,
    maps.length > 0 && el("label", { class: "check" }, hide, " Hide the map (H)"),
    el("div", { class: "row-of" }, ...buttons),
    view.box && boxControls(view.box, {}, () => panels.dragBox()),
    el("div", { class: "pairs" }, ...choices, ...windows)), beside);
  return el("section", { class: "card", "aria-labelledby": "where" }, el("h2", { id: "where" }, "Where the model looks"),
    !maps.length && el("p", { class: "dim" }, "This case has no heatmaps."), box);
}

/** The value that the strongest `share` per cent of a map reach: of a volume, of all its voxels, as in three dimensions. */
function levelOf(map: MapAbout, share: number, shown: Float32Array): number {
  return map.levels.length ? map.levels[100 - share] : strongest(shown.map(Math.abs), share / 100);
}

/** How many per cent of a map are shown as strong; one setting for slices and three dimensions. */
export function shareControl(label: string, view: View): HTMLElement {
  const made = slider(label, { min: 1, max: 100, step: 1, value: view.share! }, v => v < 100 ? `the strongest ${v} %` : "off",
    v => { view.share = v; view.redraw.forEach(again => again()); });
  view.redraw.push(() => made.set(view.share!));
  return made.box;
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

/** The legend of a map: colours as blended, meaning of orange and blue, unit, scale, and how fine the map is. */
export function legendOf(map: MapAbout, scale: number, own: boolean, opacity = 0.85): HTMLElement[] {
  const [seen, there] = map.scale_from;
  const from = !there ? "Per-image scale: not comparable with other maps" : own ? ownScaleWords(map)
    : `Cohort scale: ${plural(there, "map")} of this model by ${map.method}` + (seen < there ? ` (estimated from ${seen} of them)` : "");
  return [scaleBar(opacity), ends(`${map.blue}: ${short(scale)}`, "0", `${map.orange}: ${short(scale)}`),
    el("p", { class: "dim small" }, `Target: ${map.target_name}; evidence in ${map.unit}. Orange: evidence ${map.orange}; blue: ${map.blue}. ${from}.`,
      map.layer && el("b", { class: "block" }, `Resolution of the map: ${map.layer}, enlarged to the image.`),
      map.part && el("b", { class: "block" }, `The map is ${map.part}.`)),
    ...(map.flaw ? [el("p", { class: "doubt" }, map.flaw)] : [])];
}

/** A value with the class that it is evidence for. */
function evidence(map: MapAbout, value: number): string {
  return value === 0 ? "0" : `${short(Math.abs(value))} ${value * map.sign > 0 ? map.orange : map.blue}`;
}

function readValues(panels: Panels, image: ImageAbout, view: View, map: () => MapAbout | undefined, readout: HTMLElement): void {
  const [canvas] = panels.canvases;
  const read = async (event: PointerEvent): Promise<void> => {
    const at = panels.place(event, canvas), chosen = map();
    const values = await getValues(chosen?.row ?? image.row, "image", view.slice).catch(() => null);
    const found = chosen && await getValues(chosen.row, "values", view.slice).catch(() => null);
    if (!values || !at) return;
    const [channels, height, width] = values.shape, x = Math.floor(at.x * width), y = Math.floor(at.y * height);
    const grey = Array.from({ length: channels }, (_, c) => short(values.data[(c * height + y) * width + x]));
    const said = found && chosen ? `, map ${evidence(chosen, found.data[y * width + x])}` : "";
    readout.textContent = `column ${x}, row ${y}: image ${grey.join(" ")}${said}`;
  };
  for (const kind of ["pointermove", "pointerdown"] as const) canvas.addEventListener(kind, read);
}
