// One case of two models: their heatmaps on one scale, the difference of these, their counterfactuals and scores.

import { choice, painter, slider, trustCard } from "./controls";
import { type ImageAbout, type MapAbout, type StripAbout, type View } from "./types";
import { chart } from "./chart";
import { apartWords, type Apart } from "./compare";
import { byId, el, getJson, LOADING, plural, short, signed } from "./page";
import { contour, draw, drawContour, fit, frameOf, getValues, greyPixels, mixed, signedPixels, strongest, type Values } from "./pixels";
import { differenceLegend } from "./legend";
import { detailsOf, kindAt, levelAt } from "./strip";
import { sliceControl, windowControls } from "./window";
import { STRONGEST, turned } from "./where";

interface Item {
  label: string; target: string; target_name: string; kind: "heatmap" | "strip"; parts: [MapAbout, MapAbout] | [StripAbout, StripAbout];
  alike: number | null; overlap: { shared: number; opposite: number } | null;
  scores: { metric: string; better: string | null; values: (number | null)[] }[];
}
interface PairAbout {
  id: string; name: string; source: string; models: [string, string]; cases: [string, string]; answers: [string[], string[]];
  apart: Apart | null; image: ImageAbout | null; items: Item[]; alone: string[];
  failures: { method: string; error: string }[][]; number: number; of: number; previous: string | null; next: string | null;
}

export async function pairPage(): Promise<void> {
  const table = location.search, about = await getJson<PairAbout>(`/api/compare/${document.body.dataset.id}${table}`);
  header(about, table);
  const main = byId("parts");
  if (about.image) {
    const [low, high] = about.image.window;
    const view: View = { window: { low, high }, aspect: about.image.aspect, redraw: [] };
    const maps = about.items.filter(item => item.kind === "heatmap"), strips = about.items.filter(item => item.kind === "strip");
    if (about.image.slices) view.slice = (maps[0]?.parts[0] as MapAbout | undefined)?.slice ?? Math.floor(about.image.slices / 2);
    const slices = sliceControl(about.image, view);
    if (maps.length) main.append(mapsSection(about, about.image, maps, view, slices));
    strips.forEach((strip, k) => main.append(stripsSection(about, strip, view, maps.length || k ? null : slices)));
  }
  main.append(...rest(about));
  byId("waiting").remove();
}

function header(about: PairAbout, table: string): void {
  byId("back").setAttribute("href", "/compare" + table);
  byId("place").textContent = about.number ? `${about.number} of ${about.of}` : "";
  for (const side of ["previous", "next"] as const) {
    const link = byId<HTMLAnchorElement>(side), id = about[side];
    if (id) link.href = `/compare/${id}${table}`;
    else { link.removeAttribute("href"); link.setAttribute("aria-disabled", "true"); }
  }
  byId("facts").append(...about.models.map((model, k) => el("p", {}, el("a", { href: `/case/${about.cases[k]}` }, model), ": prediction ",
    el("b", {}, about.answers[k].join(", ") || "none"), ".")));
  if (about.apart) byId("facts").append(el("p", { class: about.apart.other ? "verdict warn" : "verdict plain" },
    about.apart.other === null ? "" : about.apart.other ? "The predicted classes differ. " : "The predicted class is the same. ",
    "Difference of the predictions: ", apartWords(about.apart), "."));
}

type Slider = ReturnType<typeof slider>;

interface State { item: Item; opacity: number; share: number; own: boolean; hidden: boolean }

function mapsSection(about: PairAbout, image: ImageAbout, items: Item[], view: View, slices: Slider | null): HTMLElement {
  const state: State = { item: items[0], opacity: 0.85, share: STRONGEST, own: uneven(items[0]), hidden: false };
  const names = [...about.models, `${about.models[0]} minus ${about.models[1]}`];
  const canvases = names.map(() => el("canvas", { role: "img", width: 512, height: 512, "aria-label": LOADING }));
  const legend = el("div", { class: "legend" }), said = el("div"), trust = el("div", { class: "twins" });
  const paint = painter(async () => paintMaps(canvases, names, image, state, view, legend));
  view.redraw.push(paint);
  const tellItem = (): void => {
    said.replaceChildren(...likeness(state.item, about.models), scoreTable(state.item, about.models));
    trust.replaceChildren(...state.item.parts.map((part, k) => el("div", {}, el("h3", {}, about.models[k]), trustCard(part.trust))));
  };
  const picked = (index: string): void => {
    state.item = items[Number(index)];
    state.own = uneven(state.item);
    scales.querySelectorAll("input").forEach(input => { input.checked = (input.value === "own") === state.own; });
    tellItem();
    paint();
  };
  const scales = choice("Scale", [["fixed", "common"], ["own", "per model"]], state.own ? "own" : "fixed",
    v => { state.own = v === "own"; paint(); });
  const hide = el("input", { type: "checkbox" });
  hide.addEventListener("change", () => { state.hidden = hide.checked; paint(); });
  const row = el("div", { class: "stages", tabindex: 0, role: "group", "aria-label": "both maps and their difference. H hides the maps, drag changes the window" },
    ...canvases.map((canvas, k) => el("figure", {}, el("figcaption", {}, names[k]), el("div", { class: "stage" }, canvas))), legend);
  row.addEventListener("keydown", event => { if (event.key.toLowerCase() === "h") hide.click(); });
  tellItem();
  paint();
  const several = new Set(items.map(item => item.target)).size > 1;
  return el("section", { class: "card", "aria-labelledby": "where" }, el("h2", { id: "where" }, "Where both models look"), row,
    el("div", { class: "pair-parts" }, el("div", { class: "controls" },
      choice("Map", items.map((item, k) => [String(k), several ? `${item.label}, ${item.target_name}` : item.label]), "0", picked),
      slices?.box,
      slider("Opacity", { min: 0, max: 100, step: 1, value: 85 }, v => `${v} %`, v => { state.opacity = v / 100; paint(); }).box,
      slider("Contour", { min: 1, max: 100, step: 1, value: STRONGEST }, v => v < 100 ? `the strongest ${v} %` : "off",
        v => { state.share = v; paint(); }).box,
      ...windowControls(image, view, ...row.querySelectorAll<HTMLElement>(".stage")),
      scales,
      el("label", { class: "check" }, hide, " Hide the maps (H)")), said, trust));
}

/** Whether one map stays below 15 % of the common scale. */
function uneven(item: Item): boolean {
  const parts = item.parts as [MapAbout, MapAbout], most = Math.max(...parts.map(part => part.shared));
  return parts.some(part => part.own > 1e-9 && part.own < 0.15 * most);
}

async function paintMaps(
  canvases: HTMLCanvasElement[], names: string[], image: ImageAbout, state: State, view: View, legend: HTMLElement,
): Promise<void> {
  const parts = state.item.parts as [MapAbout, MapAbout];
  const base = await getValues(image.row, "image", view.slice);
  const maps = await Promise.all(parts.map(part => getValues(part.row, "values", view.slice)));
  const scales = parts.map(part => state.own ? part.own : Math.max(...parts.map(other => other.shared)));
  const unit = Math.max(...scales), colours = (data: Float32Array): Float32Array => turned(data, parts[0].sign);
  // The third picture is the difference of the two shown: on scales per model, of the normalised maps.
  const apart = state.own ? maps[0].data.map((v, i) => v / scales[0] - maps[1].data[i] / scales[1]) : maps[0].data.map((v, i) => v - maps[1].data[i]);
  const drawn: [Float32Array, number][] = [[colours(maps[0].data), scales[0]], [colours(maps[1].data), scales[1]], [colours(apart), state.own ? 1 : unit]];
  const [, height, width] = base.shape;
  drawn.forEach(([data, scale], k) => {
    const context = fit(canvases[k], height, width, view.aspect);
    draw(context, greyPixels(base, view.window, k === 2 ? 0.6 : 1));
    if (!state.hidden) {
      draw(context, signedPixels(data, width, height, scale, state.opacity));
      if (state.share < 100) drawContour(context, contour(data, width, height, strongest(data.map(Math.abs), state.share / 100)), width, height);
    }
    canvases[k].setAttribute("aria-label", state.hidden ? "the image alone" : `${state.item.label} for ${state.item.target_name}: ${names[k]}`);
  });
  legend.replaceChildren(el("div", { class: "scale", "aria-hidden": "true" }),
    el("div", { class: "ends" }, el("span", {}, state.own ? parts[0].blue : `${parts[0].blue}: ${short(unit)}`), el("span", {}, state.own ? parts[0].orange : `${parts[0].orange}: ${short(unit)}`)),
    el("p", { class: "dim small" }, `Target: ${state.item.target_name}. The first two: orange is evidence ${parts[0].orange}, blue ${parts[0].blue}. The third: orange where `
      + `${names[0]} has more of it, blue where ${names[1]} has. ` + (state.own
      ? `One scale per model (${scales.map(short).join(" and ")}): shapes can be compared, magnitudes cannot.`
      : `Common scale, that of the model with the stronger maps by ${parts[0].method}; the maps of the other model may be faint.`)),
    ...parts.map((part, k) => part.part && el("p", { class: "small" }, el("b", {}, `${names[k]}: the map is ${part.part}.`))).filter(Boolean) as HTMLElement[],
    ...parts.map((part, k) => part.flaw && el("p", { class: "doubt" }, `${names[k]}: ${part.flaw}`)).filter(Boolean) as HTMLElement[]);
}

function likeness(item: Item, models: [string, string]): HTMLElement[] {
  if (item.alike === null || !item.overlap) return [el("p", { class: "dim" }, "The two results cannot be compared: one is empty, or their shapes differ.")];
  const words = item.alike > 0.8 ? "similar" : item.alike > 0.4 ? "partly similar" : item.alike > -0.2 ? "dissimilar" : "opposite";
  const facts: [string, string][] = [
    ["cosine similarity", signed(item.alike)], ["strongest 5 %: overlap", `${(100 * item.overlap.shared).toFixed(0)} %`],
    ["opposite signs in the overlap", `${(100 * item.overlap.opposite).toFixed(0)} %`]];
  return [el("h3", {}, `${models[0]} and ${models[1]}: ${words}`),
    el("dl", { class: "read" }, ...facts.flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, value)]))];
}

function scoreTable(item: Item, models: [string, string]): HTMLElement {
  if (!item.scores.length) return el("p", { class: "dim small" }, "The run has no metrics of this method.");
  const cells = (values: (number | null)[], better: string | null) => {
    const [a, b] = values, wins = a === null || b === null || a === b || !better ? -1 : (a > b) === (better === "higher") ? 0 : 1;
    return values.map((value, k) => el("td", { class: k === wins ? "wins" : "" }, value === null ? "failed" : short(value), k === wins && " (better)"));
  };
  return el("table", { class: "scores" }, el("caption", {}, `Scores of ${item.label}`),
    el("thead", {}, el("tr", {}, el("th", { scope: "col" }, "metric"), ...models.map(model => el("th", { scope: "col" }, model)))),
    el("tbody", {}, ...item.scores.map(score => el("tr", {}, el("th", { scope: "row" }, score.metric), ...cells(score.values, score.better)))));
}

function stripsSection(about: PairAbout, item: Item, view: View, slices: Slider | null): HTMLElement {
  const parts = item.parts as [StripAbout, StripAbout], id = `how-${parts[0].row}`, state = { at: 1, change: false };
  const canvases = parts.map(() => el("canvas", { role: "img", width: 512, height: 512, "aria-label": LOADING }));
  const charts = parts.map(part => chart(part)), reads = parts.map(() => el("p", { class: "small" })), tags = parts.map(() => el("div", { class: "tag" })), legend = el("div", { class: "legend" });
  const paint = painter(async () => {
    const changes = await Promise.all(parts.map(part => changeOf(part, view)));
    const scale = parts[0].difference.scale; // the image is the same, so the scale is too
    for (const [k, part] of parts.entries()) {
      const { frames } = changes[k], { index, share } = placeOf(part, state.at), origin = frameOf(frames, part.origin);
      const now = mixed(frameOf(frames, index), frameOf(frames, Math.min(index + 1, part.requested.length - 1)), share);
      const [, height, width] = origin.shape, context = fit(canvases[k], height, width, part.aspect);
      draw(context, greyPixels(state.change ? origin : now, view.window, state.change ? 0.5 : 1));
      if (state.change) draw(context, signedPixels(less(now, origin), width, height, scale, 0.95));
      charts[k].at(index, share);
      tags[k].textContent = state.change ? "difference from the original" : kindAt(part, index + share);
      reads[k].textContent = `${part.target_name}: ${part.levels[part.origin]} → ${levelAt(part, index, share)}. `
        + `${part.reason.charAt(0).toUpperCase()}${part.reason.slice(1)}; `
        + `reconstruction error ${part.reconstruction_error.toFixed(2)} ${part.unit}${part.above_tolerance ? ", above the tolerance" : ""}.${part.part && ` The change is ${part.part}.`}`;
      canvases[k].setAttribute("aria-label", `${about.models[k]}, ${state.change ? "change" : "frame"} at ${Math.round(100 * state.at)} % of the path`);
    }
    const all = Float32Array.from(changes.flatMap(change => [...change.most]));
    legend.replaceChildren(...(state.change ? differenceLegend(parts[0].difference, all) : []));
  });
  view.redraw.push(paint);
  paint();
  return el("section", { class: "card", "aria-labelledby": id },
    el("h2", { id }, `How the image would have to change for each model (${item.label}, ${item.target_name})`),
    el("div", { class: "controls across" }, slices?.box,
      slider("Position", { min: 0, max: 1, step: 0.01, value: 1 }, v => `${Math.round(100 * v)} % of the path`, v => { state.at = v; paint(); }).box,
      choice("Show", [["frame", "frame"], ["change", "change"]], "frame", v => { state.change = v === "change"; paint(); })),
    el("div", { class: "stages two" }, ...parts.map((part, k) => el("figure", {}, el("figcaption", {}, about.models[k]),
      el("div", { class: "stage" }, canvases[k], tags[k]), reads[k], charts[k].picture, detailsOf(part),
      trustCard(part.trust)))),
    legend, ...likeness(item, about.models), scoreTable(item, about.models));
}

/** The frame at a position from the image (0) to the end of the counterfactual (1). */
function placeOf(part: StripAbout, at: number): { index: number; share: number } {
  const last = part.requested.length - 1, end = part.origin === last ? 0 : last, place = part.origin + at * (end - part.origin);
  const index = Math.min(Math.floor(place), last);
  return { index, share: place - index };
}

async function changeOf(part: StripAbout, view: View): Promise<{ frames: Values; most: Float32Array }> {
  const frames = await getValues(part.row, "frames", view.slice), end = part.origin === part.requested.length - 1 ? 0 : part.requested.length - 1;
  return { frames, most: less(frameOf(frames, end), frameOf(frames, part.origin)) };
}

function less(a: Values, b: Values): Float32Array {
  const [channels, height, width] = a.shape, size = height * width;
  return Float32Array.from({ length: size }, (_, i) => {
    let sum = 0;
    for (let c = 0; c < channels; c++) sum += a.data[c * size + i] - b.data[c * size + i];
    return sum / channels;
  });
}

function rest(about: PairAbout): HTMLElement[] {
  const failed = about.failures.flatMap((list, k) => list.map(failure => ({ ...failure, model: about.models[k] })));
  return [
    ...(about.items.length ? [] : [el("section", { class: "card" }, el("p", {}, "No method has results of both models for the same target: each model "
      + "was explained for its own predicted class. To compare models, name the targets in the study (targets = [\"class:1\"])."))]),
    ...(about.alone.length ? [el("details", { class: "card" }, el("summary", {}, `Of one model only: ${plural(about.alone.length, "result")}`),
      ...about.alone.map(text => el("p", { class: "dim small" }, text)))] : []),
    ...(failed.length ? [el("section", { class: "card", "aria-labelledby": "failed" },
      el("h2", { id: "failed" }, `What failed: ${plural(failed.length, "result")}`),
      ...failed.map(f => el("p", { class: "doubt" }, el("b", {}, `${f.model}, ${f.method}`), ": ", f.error)))] : [])];
}
