// A counterfactual: original, changed image and difference side by side, with a slider over the prediction.

import { boxControls } from "./box";
import { choice, madeBy, painter, slider, trustCard } from "./controls";
import { type StripAbout, type View } from "./types";
import { chart } from "./chart";
import { film } from "./film";
import { DIM, differenceLegend, OVER } from "./legend";
import { el } from "./page";
import { Panels, type Picture } from "./panels";
import { difference, exaggerated, frameOf, getValues, greyPixels, layerOf, mixed, outline, signedPixels, type Values } from "./pixels";
import { sliceControl, windowControls, type Windowed } from "./window";

type Compare = "beside" | "wipe";
/** at: position, from the image (as shown first) to the changed image; swapped: the original is shown in its place. */
interface State { at: number; compare: Compare; wipe: number; swapped: boolean; times: number; outlined: boolean }

const KEYS = "Left and right arrows change the frame, B puts the original in the place of the changed image and back, M the comparison mode, "
  + "X exaggerates, L is the lens, P the pixels, plus, minus and 0 zoom, shift and arrows move what is shown, F is full screen";

/** The data of a counterfactual with its frames in the order in which they are shown: from the image to the changed image. */
export function displayed(strip: StripAbout): StripAbout {
  const by = <T>(list: T[]): T[] => strip.order.map(k => list[k]);
  return {
    ...strip, requested: by(strip.requested), scores: by(strip.scores), shares: strip.shares && by(strip.shares),
    latent_distance: by(strip.latent_distance), kinds: by(strip.kinds), levels: by(strip.levels), table: by(strip.table),
    origin: strip.order.indexOf(strip.origin), curve: { ...strip.curve, points: by(strip.curve.points) },
  };
}

/** The part of a page for one counterfactual. `first` is the first of its page. */
export function stripSection(given: StripAbout, view: View, image?: Windowed, first = false): HTMLElement {
  const strip = displayed(given), parts = new Part(strip, view, image);
  const title = strip.sentence || strip.picture ? "What would change the prediction?" : strip.heading;
  const failed = strip.trust.failed.length, doubts = failed > 0 && ` ${failed === 1 ? "One reliability check does" : `${failed} reliability checks do`} not pass (below).`;
  const section = el("section", { class: "card how", "aria-label": `${strip.heading}, ${strip.label}` },
    first && title === strip.heading && el("p", { class: "kicker" }, "What would change the prediction?"),
    el("h2", {}, strip.picture ? strip.heading : title),
    strip.picture ? el("p", { class: "dim" }, "Made by gradient ascent: not a patient, and no likeness is claimed.")
      : el("p", { class: `lead verdict ${strip.tone}` }, strip.sentence && strip.verdict && el("b", {}, `${strip.verdict} `), strip.sentence.replaceAll(" %", "\u00a0%") || `${strip.second} ${sentenceOf(strip.reason)}`, doubts),
    strip.box && el("p", { class: "dim" }, strip.box.words),
    parts.viewing(), parts.strip.box,
    el("div", { class: "below" },
      !strip.picture && el("div", {}, parts.chart.picture, detailsOf(strip)),
      el("div", { class: "beside" }, strip.picture ? "" : verdict(strip), trustCard(strip.trust), madeBy(strip))));
  parts.paint();
  return section;
}

class Part {
  readonly paint: () => void;
  readonly chart: ReturnType<typeof chart>;
  readonly strip: ReturnType<typeof film>;
  private readonly state: State;
  private readonly last: number;
  private readonly panels: Panels;
  private readonly read = el("dl", { class: "read" });
  private readonly legend = el("div", { class: "legend" });
  private readonly move: ReturnType<typeof slider>;
  private readonly wipe: ReturnType<typeof slider>;
  private keys: Record<string, () => void> = {};

  constructor(private readonly about: StripAbout, private readonly view: View, private readonly image?: Windowed) {
    this.last = about.order.length - 1;
    this.state = { at: about.origin === 0 ? this.last : about.origin, compare: "beside", wipe: 0.5, swapped: false, times: 1, outlined: true };
    this.panels = new Panels(about.picture ? ["changed"] : ["original", "changed", "difference"], "the other image", image, view, about.box);
    this.paint = painter(() => this.draw());
    view.redraw.push(this.paint);
    this.chart = chart(about);
    this.strip = film(about, view, k => this.to(k));
    this.move = slider(about.shares ? `Probability of ${about.target_name}` : `Prediction: ${about.target_name}`,
      { min: 0, max: this.last, step: 0.02, value: this.state.at }, v => words(about, v), v => { this.state.at = v; this.paint(); });
    this.move.box.classList.add("frames");
    this.move.input.addEventListener("keydown", event => this.arrows(event));
    this.wipe = slider("Wipe", { min: 0, max: 100, step: 1, value: 50 }, v => `${v} % is the original`, v => { this.state.wipe = v / 100; this.paint(); });
    this.wipe.box.hidden = true;
  }

  /** The panels with their controls. */
  viewing(): HTMLElement {
    const { panels, image } = this, plain = !this.about.picture;
    const box = el("div", { class: "viewing", tabindex: 0, role: "group", "aria-label": `original, changed image and difference. ${KEYS}` });
    const { buttons, choices } = panels.controls(box);
    const flicker = el("button", { type: "button", "aria-pressed": "false" }, "Original / changed (B)");
    flicker.addEventListener("click", () => {
      this.state.swapped = !this.state.swapped;
      flicker.setAttribute("aria-pressed", String(this.state.swapped));
      this.paint();
    });
    const modes = choice("Compare (M)", [["beside", "side by side"], ["wipe", "wipe"]], "beside", v => {
      this.state.compare = v as Compare;
      this.wipe.box.hidden = v !== "wipe";
      panels.wipeBy(v === "wipe" ? share => { this.state.wipe = share; this.wipe.set(Math.round(100 * share)); this.paint(); } : null);
      this.paint();
    });
    const times = choice("Exaggerate the change (X)", [["1", "off"], ["2", "×2"], ["4", "×4"]], "1", v => { this.state.times = Number(v); this.paint(); });
    const lines = el("input", { type: "checkbox", checked: true });
    lines.addEventListener("change", () => { this.state.outlined = lines.checked; this.paint(); });
    this.keys = { b: () => flicker.click(), m: () => next(modes), x: () => next(times), f: () => buttons[3].click() };
    box.addEventListener("keydown", event => this.key(event, box));
    const slices = image && sliceControl(image, this.view);
    const figures = panels.figures;
    if (plain) figures[2].append(this.legend);
    const outlines = el("label", { class: "check" }, lines, " Outline the 10 % that change most");
    box.append(...figures, el("div", { class: "controls" },
      this.move.box, slices?.box ?? "", el("div", { class: "row-of" }, this.play(), plain ? flicker : "", ...buttons), this.read,
      this.view.box ? boxControls(this.view.box, { target: this.about.target, goal: this.about.goal }, () => panels.dragBox()) : "",
      el("div", { class: "pairs" }, ...(plain ? [modes, this.wipe.box, times, outlines] : []), ...choices,
        ...(image ? windowControls(image, this.view, ...panels.stages) : []))));
    return box;
  }

  private async draw(): Promise<void> {
    const { about, state, view } = this, frames = await getValues(about.row, "frames", view.slice);
    const k = Math.min(Math.floor(state.at), this.last), share = state.at - k;
    const frame = (at: number): Values => frameOf(frames, about.order[at]);
    const origin = frame(about.origin), now = mixed(frame(k), frame(Math.min(k + 1, this.last)), share);
    this.put(origin, now);
    this.chart.at(k, share);
    this.strip.mark(state.at);
    view.moved?.(about.order[0] ? this.last - state.at : state.at);
    this.read.replaceChildren(...readings(about, k, share));
  }

  private put(origin: Values, now: Values): void {
    const { about, state, view, panels } = this, [, height, width] = origin.shape, size = { height, width, aspect: about.aspect };
    const first = layerOf(greyPixels(origin, view.window));
    const second = layerOf(greyPixels(state.times > 1 ? exaggerated(origin, now, state.times) : now, view.window));
    const note = state.times > 1 ? `CHANGE EXAGGERATED ×${state.times}` : undefined, changed: Picture = { ...size, layers: [second], other: [first], note };
    if (about.picture) return this.one(0, changed);
    panels.show(0, { ...size, layers: [first], other: [second] });
    if (state.swapped) panels.show(1, { ...size, layers: [first], other: [second] });
    else if (state.compare === "wipe") panels.show(1, { ...changed, wipe: { share: state.wipe, layer: first, words: ["original", "synthetic"] } });
    else panels.show(1, changed);
    const change = difference(now, origin), dark = layerOf(greyPixels(origin, view.window, DIM));
    panels.show(2, { ...size, layers: [dark, layerOf(signedPixels(change, width, height, about.difference.scale, OVER))],
      lines: state.outlined ? outline(change, width, height) : [], other: [second] });
    this.legend.replaceChildren(...differenceLegend(about.difference, change));
    this.captions();
  }

  private one(k: number, picture: Picture): void {
    this.panels.show(k, picture);
    this.panels.tags[k].textContent = "synthetic, not for diagnosis";
    this.panels.captions[k].replaceChildren(el("b", { class: "mark" }, "synthetic"), ` ${words(this.about, this.state.at)}`);
    this.panels.canvases[k].setAttribute("aria-label", words(this.about, this.state.at));
  }

  private captions(): void {
    const { about, state, panels } = this, k = Math.min(Math.floor(state.at), this.last);
    const level = levelAt(about, k, state.at - k), before = about.levels[about.origin];
    const same = isOrigin(about, state.at) || state.swapped, kind = kindAt(about, state.swapped ? about.origin : state.at);
    const kinds = [kindAt(about, about.origin), state.compare === "wipe" && !same ? "left: original; right: synthetic, not for diagnosis" : kind,
      `difference of frame ${place(state.at)} (${isOrigin(about, state.at) ? "original" : "synthetic"}) from the original`];
    const levels = [`${about.target_name}: ${before}`, `${about.target_name}: ${state.swapped ? before : level}`, "changed image minus original"];
    kinds.forEach((text, at) => {
      const real = at === 0 || (at === 1 && same);
      panels.tags[at].textContent = text;
      panels.tags[at].classList.toggle("original", real);
      panels.captions[at].replaceChildren(
        el("b", { class: real ? "mark real" : "mark" }, at === 2 ? "difference" : real ? "original" : "synthetic"), ` ${levels[at].replaceAll(" %", "\u00a0%")}`);
      panels.canvases[at].setAttribute("aria-label", `${text}. ${levels[at]}`);
    });
  }

  private to(at: number): void {
    this.state.at = at;
    this.move.set(at);
    this.paint();
  }

  private arrows(event: KeyboardEvent): boolean {
    const step = event.shiftKey ? 0 : { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1 }[event.key] ?? 0, { at } = this.state;
    if (!step) return false;
    event.preventDefault();
    event.stopPropagation();
    this.to(Math.max(0, Math.min(this.last, step > 0 ? Math.floor(at + 1e-6) + 1 : Math.ceil(at - 1e-6) - 1)));
    return true;
  }

  private key(event: KeyboardEvent, box: HTMLElement): void {
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    const inside = event.target !== box, own = this.keys[event.key.toLowerCase()];
    if (inside && (event.key.startsWith("Arrow") || event.target instanceof HTMLSelectElement)) return; // keys of that control
    if (own) { if (!event.repeat) own(); } else if (!this.arrows(event) && !this.panels.key(event)) return;
    event.preventDefault();
  }

  private play(): HTMLElement {
    const button = el("button", { type: "button" }, "Play"), { state } = this;
    let timer = 0, step = 1;
    button.addEventListener("click", () => {
      if (timer) { clearInterval(timer); timer = 0; button.textContent = "Play"; return; }
      button.textContent = "Stop";
      timer = window.setInterval(() => {
        if (state.at + 0.08 * step > this.last || state.at + 0.08 * step < 0) step = -step;
        this.to(Math.max(0, Math.min(this.last, state.at + 0.08 * step)));
      }, 50);
    });
    return button;
  }
}

/** Choose the next option. */
function next(box: HTMLElement): void {
  const options = [...box.querySelectorAll("input")], at = options.findIndex(one => one.checked);
  options[(at + 1) % options.length].click();
}

const sentenceOf = (text: string): string => `${text.charAt(0).toUpperCase()}${text.slice(1)}.`;
const place = (at: number): string => at.toFixed(Number.isInteger(at) ? 0 : 1);

function verdict(strip: StripAbout): HTMLElement {
  const error = strip.above_tolerance
    ? "above the tolerance: generating this image without a change moves the prediction. Do not rely on this counterfactual"
    : "within the tolerance";
  return el("p", { class: `verdict ${strip.tone}` }, el("b", {}, strip.second), ` ${sentenceOf(strip.reason)} `,
    `Reconstruction error: ${strip.reconstruction_error.toFixed(2)} ${strip.unit}, ${error}.`,
    strip.outcome !== "already" && hasLatents(strip) && ` Largest latent distance: ${Math.max(...strip.latent_distance).toFixed(1)} SD.`,
    ` Engine: ${strip.engine}.`);
}

/** Whether the engine has a latent space; a translator has none. */
const hasLatents = (strip: StripAbout): boolean => Math.max(...strip.latent_distance) > 0;

const isOrigin = (strip: StripAbout, at: number): boolean => Math.abs(at - strip.origin) < 1e-6 && !strip.picture;

/** The kind of image at a position of the counterfactual: original or synthetic. */
export function kindAt(strip: StripAbout, at: number): string {
  return isOrigin(strip, at) ? strip.kinds[strip.origin] : "synthetic, not for diagnosis";
}

/** A table of requested and achieved changes, collapsed at first. */
export function detailsOf(strip: StripAbout): HTMLElement {
  const heads = ["frame", "level", `score, ${strip.unit}`, "requested", "achieved", "latent distance (SD)"];
  return el("details", { class: "details" }, el("summary", {}, `Details: ${strip.unit}, changes requested and achieved`),
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
  const k = Math.min(Math.floor(at), strip.order.length - 1);
  return `${levelAt(strip, k, at - k)}, frame ${place(at)} of ${strip.order.length - 1}: ${isOrigin(strip, at) ? "original" : "synthetic"}`;
}
