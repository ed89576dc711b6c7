// A counterfactual: its frames, shown as a morph, a wipe or a difference.

import { choice, madeBy, painter, slider, trustCard } from "./controls";
import { type StripAbout, type View } from "./types";
import { chart } from "./chart";
import { el, short } from "./page";
import { difference, draw, fit, frameOf, getValues, greyPixels, mixed, signedPixels, type Values } from "./pixels";

type Mode = "morph" | "wipe" | "difference";

export function stripSection(strip: StripAbout, view: View): HTMLElement {
  const last = strip.requested.length - 1, first = strip.origin === 0 ? last : strip.origin === last ? 0 : strip.origin;
  const state = { at: first, mode: "morph" as Mode, wipe: 0.5 };
  const canvas = el("canvas", { role: "img", width: 512, height: 512 });
  const tag = el("div", { class: "tag" });
  const stage = el("div", { class: "stage", tabindex: 0, role: "group",
    "aria-label": "counterfactual. Left and right arrows change the frame, M the comparison mode" }, canvas, tag);
  const { picture, at: mark } = chart(strip);
  const legend = el("div", { class: "legend" }), read = el("dl", { class: "read" });

  const paint = painter(async () => {
    const frames = await getValues(strip.row, "frames", view.slice);
    const k = Math.min(Math.floor(state.at), last), share = state.at - k;
    const origin = frameOf(frames, strip.origin), now = mixed(frameOf(frames, k), frameOf(frames, Math.min(k + 1, last)), share);
    const [, height, width] = origin.shape, context = fit(canvas, height, width, strip.aspect);
    legend.replaceChildren();
    if (state.mode === "difference") paintDifference(context, origin, now, strip, view, legend);
    else draw(context, greyPixels(now, view.window));
    if (state.mode === "wipe") paintWipe(context, origin, view, state.wipe);
    mark(k, share);
    tagFor(tag, strip, state.mode, state.at);
    view.moved?.(state.at);
    read.replaceChildren(...readings(strip, k, share));
    canvas.setAttribute("aria-label", `${state.mode}: ${words(strip, state.at)}`);
  });
  view.redraw.push(paint);

  const move = slider("Frame", { min: 0, max: last, step: 0.02, value: first }, v => words(strip, v), v => { state.at = v; paint(); });
  const whole = (step: number): void => {
    state.at = Math.max(0, Math.min(last, step > 0 ? Math.floor(state.at + 1e-6) + 1 : Math.ceil(state.at - 1e-6) - 1));
    move.set(state.at);
    paint();
  };
  const arrows = (event: KeyboardEvent): void => {
    const step = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1 }[event.key];
    if (step) { event.preventDefault(); whole(step); }
  };
  move.input.addEventListener("keydown", arrows);
  const wipe = slider("Wipe", { min: 0, max: 100, step: 1, value: 50 }, v => `${v} % is the original`, v => { state.wipe = v / 100; paint(); });
  wipe.box.hidden = true;
  const modes = choice("Compare by", [["morph", "morph"], ["wipe", "wipe"], ["difference", "difference"]], "morph", v => {
    state.mode = v as Mode;
    wipe.box.hidden = v !== "wipe";
    paint();
  });
  stage.addEventListener("keydown", event => {
    arrows(event);
    if (event.key.toLowerCase() === "m") {
      const next = { morph: "wipe", wipe: "difference", difference: "morph" }[state.mode];
      modes.querySelector<HTMLInputElement>(`input[value=${next}]`)!.click();
    }
  });
  wipeByHand(stage, canvas, share => { if (state.mode === "wipe") { state.wipe = share; wipe.set(Math.round(100 * share)); paint(); } });
  paint();

  const id = `how-${strip.row}`;
  return el("section", { class: "card", "aria-labelledby": id },
    el("h2", { id }, strip.heading),
    strip.picture ? el("p", { class: "dim" }, "Made by gradient ascent: not a patient, and no likeness is claimed.") : verdict(strip),
    el("div", { class: "columns" },
      el("div", {}, stage, legend),
      el("div", { class: "controls" }, move.box, playButton(state, last, move.set, paint), modes, wipe.box, read),
      el("div", { class: "beside" }, strip.picture ? "" : detailsOf(strip, picture), trustCard(strip.trust), madeBy(strip))),
    film(strip, view, k => { state.at = k; move.set(k); paint(); }));
}

function verdict(strip: StripAbout): HTMLElement {
  const error = strip.above_tolerance
    ? "above the tolerance: generating this image without a change moves the prediction. Do not rely on this counterfactual"
    : "within the tolerance";
  const reason = strip.reason.charAt(0).toUpperCase() + strip.reason.slice(1);
  return el("p", { class: `verdict ${strip.tone}` }, el("b", {}, strip.second), " ", reason, ". ",
    `Reconstruction error: ${strip.reconstruction_error.toFixed(2)} ${strip.unit}, ${error}.`,
    strip.outcome !== "already" && hasLatents(strip) && ` Largest latent distance: ${Math.max(...strip.latent_distance).toFixed(1)} SD.`,
    !strip.picture && ` Engine: ${strip.engine}.`);
}

/** Whether the engine has a latent space; a translator has none. */
const hasLatents = (strip: StripAbout): boolean => Math.max(...strip.latent_distance) > 0;

const isOrigin = (strip: StripAbout, at: number): boolean => Math.abs(at - strip.origin) < 1e-6 && !strip.picture;

/** The kind of image at a position of the counterfactual: original or synthetic. */
export function kindAt(strip: StripAbout, at: number): string {
  return isOrigin(strip, at) ? strip.kinds[strip.origin] : "synthetic, not for diagnosis";
}

function tagFor(tag: HTMLElement, strip: StripAbout, mode: Mode, at: number): void {
  const original = isOrigin(strip, at);
  tag.textContent = mode === "difference" ? `difference of frame ${at.toFixed(Number.isInteger(at) ? 0 : 1)} (${original ? "original" : "synthetic"}) from the original`
    : mode === "wipe" && !original ? "left: original; right: synthetic, not for diagnosis" : kindAt(strip, at);
  tag.classList.toggle("original", tag.textContent === "original");
}

/** A table of requested and achieved changes, collapsed at first. */
export function detailsOf(strip: StripAbout, picture: SVGElement): HTMLElement {
  const heads = ["frame", "level", `score, ${strip.unit}`, "requested", "achieved", "latent distance (SD)"];
  return el("details", { class: "details" }, el("summary", {}, `Details: ${strip.unit}, changes requested and achieved`), picture,
    el("div", { class: "wide", role: "region", tabindex: 0, "aria-label": "figures of every frame" },
      el("table", { class: "figures" }, el("thead", {}, el("tr", {}, ...heads.map(head => el("th", { scope: "col" }, head)))),
        el("tbody", {}, ...strip.table.map((f, k) => el("tr", {}, ...[`${k}, ${f.kind}`, f.level, f.score, f.requested, f.achieved, f.distance]
          .map(text => el("td", {}, text))))))));
}

function between(list: number[], k: number, share: number): number {
  return list[k] * (1 - share) + list[Math.min(k + 1, list.length - 1)] * share;
}

/** The level at a position of the counterfactual: `83 %`, or a score in its unit. Interpolated levels between frames are marked ≈. */
export function levelAt(strip: StripAbout, k: number, share: number): string {
  const at = share < 0.011 ? k : share > 0.989 ? Math.min(k + 1, strip.levels.length - 1) : -1;
  if (at >= 0) return strip.levels[at];
  return "≈ " + (strip.shares ? `${(100 * between(strip.shares, k, share)).toFixed(0)} %`
    : `${between(strip.scores, k, share).toFixed(2)} ${strip.unit}`);
}

function readings(strip: StripAbout, k: number, share: number): HTMLElement[] {
  const name = strip.shares ? `probability of ${strip.target_name}` : strip.target_name;
  const pairs: [string, string][] = strip.picture ? [[name, levelAt(strip, k, share)]] : [
    [name, `${strip.levels[strip.origin].replace(` ${strip.unit}`, "")} → ${levelAt(strip, k, share)}`],
    ...(hasLatents(strip) ? [["latent distance", between(strip.latent_distance, k, share).toFixed(2) + " SD"] as [string, string]] : [])];
  return pairs.flatMap(([label, value]) => [el("dt", {}, label), el("dd", {}, value)]);
}

function words(strip: StripAbout, at: number): string {
  const k = Math.min(Math.floor(at), strip.requested.length - 1), share = at - k;
  return `${at.toFixed(Number.isInteger(at) ? 0 : 1)} of ${strip.requested.length - 1}: ${isOrigin(strip, at) ? "original" : "synthetic"}, ${levelAt(strip, k, share)}`;
}

function paintDifference(
  context: CanvasRenderingContext2D, origin: Values, now: Values, strip: StripAbout, view: View, legend: HTMLElement,
): void {
  const [, height, width] = origin.shape, change = difference(now, origin);
  draw(context, greyPixels(origin, view.window, 0.35));
  draw(context, signedPixels(change, width, height, strip.difference.scale, 0.95));
  legend.append(...differenceLegend(strip.difference, change));
}

/** The legend of a difference picture, with a note where the change lies outside the scale. */
export function differenceLegend(scale: StripAbout["difference"], change: Float32Array): HTMLElement[] {
  const most = change.reduce((best, value) => Math.max(best, Math.abs(value)), 0);
  const over = change.reduce((count, value) => count + (Math.abs(value) > scale.scale ? 1 : 0), 0) / change.length;
  const said = most === 0 ? "Nothing changed." : over > 0 ? `${over < 0.01 ? "Under 1" : (100 * over).toFixed(0)} % of the pixels change by more, up to ${short(most)}.`
    : most < 0.1 * scale.scale ? `The change is far below full colour: at most ${short(most)}.` : `Largest change: ${short(most)}.`;
  return [el("div", { class: "scale", "aria-hidden": "true" }),
    el("div", { class: "ends" }, el("span", {}, `darker by ${short(scale.scale)}`), el("span", {}, `brighter by ${short(scale.scale)}`)),
    el("p", { class: "dim small" }, `${scale.words.charAt(0).toUpperCase()}${scale.words.slice(1)}. ${said}`)];
}

function paintWipe(context: CanvasRenderingContext2D, origin: Values, view: View, share: number): void {
  const { width, height } = context.canvas, x = Math.round(share * width);
  context.save();
  context.beginPath();
  context.rect(0, 0, x, height);
  context.clip();
  draw(context, greyPixels(origin, view.window));
  context.restore();
  context.fillStyle = "#fff";
  context.fillRect(x - 1, 0, 2, height);
  context.font = `${Math.round(width / 32)}px system-ui, sans-serif`;
  for (const [text, side, place] of [["original", "right", x - 8], ["synthetic", "left", x + 8]] as const) {
    context.textAlign = side;
    context.lineWidth = 4;
    context.strokeStyle = "#000";
    context.strokeText(text, place, width / 20);
    context.fillText(text, place, width / 20);
  }
}

function wipeByHand(stage: HTMLElement, canvas: HTMLElement, moved: (share: number) => void): void {
  let held = false;
  const to = (event: PointerEvent): void => {
    const box = canvas.getBoundingClientRect();
    moved(Math.max(0, Math.min(1, (event.clientX - box.left) / box.width)));
  };
  stage.addEventListener("pointerdown", event => { held = true; stage.setPointerCapture(event.pointerId); to(event); });
  stage.addEventListener("pointermove", event => { if (held) to(event); });
  for (const end of ["pointerup", "pointercancel"]) stage.addEventListener(end, () => { held = false; });
}

function playButton(state: { at: number }, last: number, set: (value: number) => void, paint: () => void): HTMLElement {
  const button = el("button", { type: "button" }, "Play");
  let timer = 0, step = 1;
  button.addEventListener("click", () => {
    if (timer) { clearInterval(timer); timer = 0; button.textContent = "Play"; return; }
    button.textContent = "Stop";
    timer = window.setInterval(() => {
      if (state.at + 0.08 * step > last || state.at + 0.08 * step < 0) step = -step;
      state.at = Math.max(0, Math.min(last, state.at + 0.08 * step));
      set(state.at);
      paint();
    }, 50);
  });
  return button;
}

/** All frames in a row; a click selects one. */
function film(strip: StripAbout, view: View, picked: (k: number) => void): HTMLElement {
  const canvases = strip.requested.map(() => el("canvas", { width: 96, height: 96, "aria-hidden": "true" }));
  const drawn = el("canvas", { width: 96, height: 96, role: "img", "aria-label": "reconstruction of the image by the generator" });
  const paint = painter(async () => {
    const frames = await getValues(strip.row, "frames", view.slice);
    const again = await getValues(strip.row, "reconstruction", view.slice);
    canvases.forEach((canvas, k) => small(canvas, frameOf(frames, k), view, strip.aspect));
    small(drawn, again, view, strip.aspect);
  });
  view.redraw.push(paint);
  paint();
  const buttons = canvases.map((canvas, k) => {
    const button = el("button", { type: "button", class: k === strip.origin ? "frame origin" : "frame" }, canvas,
      el("span", {}, strip.kinds[k]), el("b", {}, strip.levels[k]));
    button.addEventListener("click", () => picked(k));
    return button;
  });
  return el("div", { class: "film", role: "group", "aria-label": "all frames" }, ...buttons,
    el("figure", { class: "frame" }, drawn, el("figcaption", {}, "synthetic: reconstruction")));
}

export function small(canvas: HTMLCanvasElement, values: Values, view: View, aspect: number): void {
  const [, height, width] = values.shape;
  canvas.height = Math.max(1, Math.round(canvas.width * height * aspect / width));
  draw(canvas.getContext("2d")!, greyPixels(values, view.window));
}
