// How the image would have to change: the frames, morphed, wiped or as a difference.

import { choice, madeBy, painter, slider, trustCard, type StripAbout, type View } from "./case";
import { chart } from "./chart";
import { el, short, signed } from "./page";
import { difference, draw, fit, frameOf, getValues, greyPixels, mixed, percentile, signedPixels, type Values } from "./pixels";

type Mode = "morph" | "wipe" | "difference";

export function stripSection(strip: StripAbout, view: View): HTMLElement {
  const last = strip.steps.length - 1, first = strip.origin === 0 ? last : strip.origin === last ? 0 : strip.origin;
  const state = { at: first, mode: "morph" as Mode, wipe: 0.5 };
  const canvas = el("canvas", { role: "img", width: 512, height: 512 });
  const tag = el("div", { class: "tag" }, "synthetic, not for diagnosis");
  const stage = el("div", { class: "stage", tabindex: 0, role: "group",
    "aria-label": "counterfactual. Left and right arrows change the frame, M the way of comparing" }, canvas, tag);
  const { picture, at: mark } = chart(strip);
  const legend = el("div", { class: "legend" }), read = el("dl", { class: "read" });

  const paint = painter(async () => {
    const frames = await getValues(strip.row, "frames", view.slice);
    const k = Math.min(Math.floor(state.at), last), share = state.at - k;
    const origin = frameOf(frames, strip.origin), now = mixed(frameOf(frames, k), frameOf(frames, Math.min(k + 1, last)), share);
    const [, height, width] = origin.shape, context = fit(canvas, height, width, strip.aspect);
    legend.replaceChildren();
    if (state.mode === "difference") paintDifference(context, frames, origin, now, view, legend);
    else draw(context, greyPixels(now, view.window));
    if (state.mode === "wipe") paintWipe(context, origin, view, state.wipe);
    mark(k, share);
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
  const wipe = slider("Wipe", { min: 0, max: 100, step: 1, value: 50 }, v => `${v} % is the image`, v => { state.wipe = v / 100; paint(); });
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
    el("h2", { id }, strip.picture ? `What the network asks for (${strip.target_name})`
      : `How: the same image until the model answers differently (${strip.target_name})`),
    strip.picture ? el("p", { class: "dim" }, "Made by gradient ascent: not a patient, and no likeness is claimed.") : verdict(strip),
    el("div", { class: "columns" },
      el("div", {}, stage, legend),
      el("div", { class: "controls" }, move.box, playButton(state, last, move.set, paint), modes, wipe.box, read),
      el("div", { class: "beside" }, picture, trustCard(strip.trust), madeBy(strip))),
    film(strip, view, k => { state.at = k; move.set(k); paint(); }));
}

function verdict(strip: StripAbout): HTMLElement {
  const drift = strip.drifted
    ? "above the tolerance: drawing this image alone moves the model. Do not rely on this strip"
    : "within the tolerance";
  const reason = strip.reason.charAt(0).toUpperCase() + strip.reason.slice(1);
  return el("p", { class: strip.doubtful ? "verdict warn" : "verdict" }, reason, ". ",
    `Drift of the reconstruction: ${strip.drift.toFixed(2)} ${strip.unit}, ${drift}. `,
    `Largest change: ${Math.max(...strip.lengths).toFixed(1)} standard deviations of synthetic images.`);
}

function between(list: number[], k: number, share: number): number {
  return list[k] * (1 - share) + list[Math.min(k + 1, list.length - 1)] * share;
}

function readings(strip: StripAbout, k: number, share: number): HTMLElement[] {
  const about = share > 0.011 && share < 0.989 ? "≈ " : ""; // between frames nothing was measured
  const pairs: [string, string][] = [
    ["change asked", signed(between(strip.steps, k, share))],
    ["measured", about + signed(between(strip.scores, k, share))],
    ["length of the change", between(strip.lengths, k, share).toFixed(2) + " SD"]];
  if (strip.shares) pairs.splice(2, 0, [`probability of ${strip.target_name}`, `${about}${(100 * between(strip.shares, k, share)).toFixed(0)} %`]);
  return pairs.flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, value)]);
}

function words(strip: StripAbout, at: number): string {
  const k = Math.min(Math.floor(at), strip.steps.length - 1), share = at - k;
  const said = strip.shares ? `${(100 * between(strip.shares, k, share)).toFixed(0)} %` : signed(between(strip.scores, k, share));
  return `${at.toFixed(Number.isInteger(at) ? 0 : 1)} of ${strip.steps.length - 1}: ${signed(between(strip.steps, k, share), 1)} asked, ${said}`;
}

function paintDifference(
  context: CanvasRenderingContext2D, frames: Values, origin: Values, now: Values, view: View, legend: HTMLElement,
): void {
  const [, height, width] = origin.shape, every: number[] = [];
  for (let k = 0; k < frames.shape[0]; k++) every.push(percentile(difference(frameOf(frames, k), origin).map(Math.abs), 0.995));
  const scale = Math.max(...every, 1e-6);
  draw(context, greyPixels(origin, view.window, 0.35));
  draw(context, signedPixels(difference(now, origin), width, height, scale, 0.95));
  legend.append(el("div", { class: "scale", "aria-hidden": "true" }),
    el("div", { class: "ends" }, el("span", {}, `darker by ${short(scale)}`), el("span", {}, `brighter by ${short(scale)}`)));
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
  for (const [text, side, place] of [["image", "right", x - 8], ["changed", "left", x + 8]] as const) {
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
  let timer = 0, way = 1;
  button.addEventListener("click", () => {
    if (timer) { clearInterval(timer); timer = 0; button.textContent = "Play"; return; }
    button.textContent = "Stop";
    timer = window.setInterval(() => {
      if (state.at + 0.08 * way > last || state.at + 0.08 * way < 0) way = -way;
      state.at = Math.max(0, Math.min(last, state.at + 0.08 * way));
      set(state.at);
      paint();
    }, 50);
  });
  return button;
}

/** All frames in a row; a click goes to one. */
function film(strip: StripAbout, view: View, picked: (k: number) => void): HTMLElement {
  const canvases = strip.steps.map(() => el("canvas", { width: 96, height: 96, "aria-hidden": "true" }));
  const drawn = el("canvas", { width: 96, height: 96, role: "img", "aria-label": "the image as the generator draws it" });
  const paint = painter(async () => {
    const frames = await getValues(strip.row, "frames", view.slice);
    const again = await getValues(strip.row, "reconstruction", view.slice);
    canvases.forEach((canvas, k) => small(canvas, frameOf(frames, k), view, strip.aspect));
    small(drawn, again, view, strip.aspect);
  });
  view.redraw.push(paint);
  paint();
  const buttons = canvases.map((canvas, k) => {
    const said = strip.shares ? `${(100 * strip.shares[k]).toFixed(0)} %` : strip.scores[k].toFixed(2);
    const button = el("button", { type: "button", class: k === strip.origin ? "frame origin" : "frame" }, canvas,
      el("span", {}, k === strip.origin ? "the image" : `${signed(strip.steps[k], 1)} asked`), el("span", {}, `${said} measured`));
    button.addEventListener("click", () => picked(k));
    return button;
  });
  return el("div", { class: "film", role: "group", "aria-label": "all frames" }, ...buttons,
    el("figure", { class: "frame" }, drawn, el("figcaption", {}, "as the generator draws it")));
}

export function small(canvas: HTMLCanvasElement, values: Values, view: View, aspect: number): void {
  const [, height, width] = values.shape;
  canvas.height = Math.max(1, Math.round(canvas.width * height * aspect / width));
  draw(canvas.getContext("2d")!, greyPixels(values, view.window));
}
