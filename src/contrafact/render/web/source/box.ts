// A box that a reader draws on the image, to ask for a counterfactual that changes only what is inside, or nothing there.

import { el } from "./page";

export type Mode = "only" | "keep";
type Span = [number, number]; // first and last, both inside
export interface BoxAt { columns: Span; rows: Span; slices?: Span | null }
/** What a question about the box begins with: the target and the goal of the result beside it. */
export interface Wish { target?: string; goal?: number | null }
interface Share { x: number; y: number }

const NOW = "#ffcf5c", WAS = "#7fe0ff"; // the box of the reader, and that of an answer
const MODES: [Mode, string][] = [["only", "Change only here"], ["keep", "Leave unchanged"]];

/** The box of a page: one for all panels, in pixels of the image as shown. */
export class Box {
  at: BoxAt | null = null;
  ask: ((mode: Mode, wish: Wish) => void) | null = null; // set where a model can be asked
  why = "loading the model …"; // why it cannot be

  constructor(readonly width: number, readonly height: number, readonly depth: number, readonly redraw: (() => void)[], private readonly shown: () => number) {}

  set(at: BoxAt | null): void {
    this.at = at && {
      columns: inside(at.columns, this.width), rows: inside(at.rows, this.height),
      ...(this.depth > 0 && { slices: inside(at.slices ?? this.near(), this.depth) }),
    };
    this.tell();
  }

  tell(): void { this.redraw.forEach(again => again()); }

  /** A box in the middle, half as wide and as high as the image. */
  start(): void {
    this.set({ columns: middle(this.width), rows: middle(this.height) });
  }

  /** The box between two places, as shares of the image. */
  between(a: Share, b: Share): void {
    const span = (from: number, to: number, size: number): Span =>
      [Math.floor(Math.min(from, to) * size), Math.ceil(Math.max(from, to) * size) - 1];
    this.set({ columns: span(a.x, b.x, this.width), rows: span(a.y, b.y, this.height), slices: this.at?.slices });
  }

  holds(at: Share): boolean {
    const found = this.at && shares(this.at, this.width, this.height);
    return Boolean(found) && at.x >= found!.x && at.x < found!.x + found!.w && at.y >= found!.y && at.y < found!.y + found!.h;
  }

  /** Move the box, or only its far corner, by pixels; it keeps its size, and stays inside the image. */
  move(dx: number, dy: number, corner = false, from: BoxAt | null = this.at): void {
    if (!from) return;
    const moved = (span: Span, by: number, size: number): Span => {
      if (corner) return [span[0], Math.max(span[0], span[1] + by)];
      const kept = Math.max(-span[0], Math.min(size - 1 - span[1], by));
      return [span[0] + kept, span[1] + kept];
    };
    this.set({ ...from, columns: moved(from.columns, dx, this.width), rows: moved(from.rows, dy, this.height) });
  }

  words(): string {
    if (!this.at) return "no box";
    const { columns, rows, slices } = this.at;
    return `columns ${columns[0]} to ${columns[1]} of ${this.width}, rows ${rows[0]} to ${rows[1]} of ${this.height}`
      + (slices ? `, slices ${slices[0] + 1} to ${slices[1] + 1} of ${this.depth}` : "");
  }

  /** The slices around the one that is shown, a quarter of the volume. */
  private near(): Span {
    const at = this.shown(), half = Math.floor(this.depth / 8);
    return [at - half, at + half];
  }
}

/** Draw a box on a picture of the whole image; `scale` is that of the context. */
export function drawBox(context: CanvasRenderingContext2D, at: BoxAt, size: { width: number; height: number }, answer: boolean, scale: number): void {
  const { width: w, height: h } = context.canvas, box = shares(at, size.width, size.height);
  for (const [colour, wide] of [["#000", 5], [answer ? WAS : NOW, 2.5]] as const) {
    context.strokeStyle = colour;
    context.lineWidth = wide / scale;
    context.setLineDash(answer ? [] : [10 / scale, 6 / scale]);
    context.strokeRect(box.x * w, box.y * h, box.w * w, box.h * h);
  }
  context.setLineDash([]);
}

/** The controls of the box beside a group of panels: a button that begins it, its pixels, and what to ask. */
export function boxControls(box: Box, wish: Wish, drag: () => void): HTMLElement {
  const begin = el("button", { type: "button" }, "Box"), hint = el("span", { class: "dim small" }, "Shift and drag on a picture, or press Box.");
  const handle = el("div", { class: "handle", tabindex: 0, role: "group" });
  const fields = edges(box), remove = button("Remove the box", () => { box.set(null); begin.focus(); });
  const asks = MODES.map(([mode, text]) => button(text, () => box.ask?.(mode, wish)));
  const why = el("p", { class: "doubt", role: "status" });
  const part = el("div", { class: "boxing", role: "group", "aria-label": "the box" }, handle, fields.part,
    el("div", { class: "row-of" }, ...asks, remove), why, ...starting());
  begin.addEventListener("click", () => { if (!box.at) box.start(); drag(); handle.focus(); });
  handle.addEventListener("keydown", event => arrows(event, box, () => remove.click()));
  part.addEventListener("keydown", event => event.stopPropagation()); // letters and digits here are not keys of the panels
  const show = (): void => {
    hint.hidden = Boolean(box.at);
    part.hidden = !box.at;
    handle.textContent = `Box: ${box.words()}`;
    handle.setAttribute("aria-label", `Box: ${box.words()}. Arrows move it, shift and arrows size it, delete removes it.`);
    fields.show();
    asks.forEach(one => { one.disabled = !box.ask; });
    why.textContent = box.ask ? "" : `No model can be asked: ${box.why}`;
    why.hidden = !why.textContent;
    part.querySelectorAll<HTMLElement>(".starting").forEach(one => { one.hidden = Boolean(box.ask) || box.why.endsWith("…"); });
  };
  box.redraw.push(show);
  show();
  return el("div", {}, el("div", { class: "row-of" }, begin, hint), part);
}

/** The command that starts the viewer with a model to ask, and a button that copies it. */
function starting(): HTMLElement[] {
  const command = document.body.dataset.command;
  if (!command) return [];
  const code = el("code", {}, command), copy = el("button", { type: "button" }, "Copy");
  copy.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(command);
      copy.textContent = "Copied";
    } catch { // only pages of this machine, or over TLS, may write there
      getSelection()?.selectAllChildren(code);
      copy.textContent = "Selected: press Ctrl and C";
    }
  });
  return [el("p", { class: "starting" }, "Start the viewer with the bundle of this model: ", code, " ", copy)];
}

function arrows(event: KeyboardEvent, box: Box, remove: () => void): void {
  const step = Math.max(1, Math.round(Math.max(box.width, box.height) / 128));
  const way: Record<string, [number, number]> = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step] };
  if (way[event.key]) box.move(...way[event.key], event.shiftKey);
  else if (event.key === "Delete" || event.key === "Backspace") remove();
  else return;
  event.preventDefault();
}

/** Number fields of the edges of the box. */
function edges(box: Box): { part: HTMLElement; show: () => void } {
  const made: { input: HTMLInputElement; name: keyof BoxAt; end: 0 | 1; plus: number }[] = [];
  const pair = (name: keyof BoxAt, size: number, plus: number): HTMLElement => {
    const inputs = ([0, 1] as const).map(end => {
      const input = el("input", { type: "number", min: plus, max: size - 1 + plus, step: 1, "aria-label": `${end ? "last" : "first"} ${name.slice(0, -1)} of the box` });
      input.addEventListener("change", () => {
        const span = [...box.at![name]!] as Span, value = Math.round(Number(input.value)) - plus;
        span[end] = Number.isFinite(value) ? value : span[end];
        box.set({ ...box.at!, [name]: end ? [Math.min(...span), span[1]] : [span[0], Math.max(...span)] });
      });
      made.push({ input, name, end, plus });
      return input;
    });
    return el("span", {}, `${name} `, inputs[0], " to ", inputs[1]);
  };
  const part = el("div", { class: "edges" }, pair("columns", box.width, 0), pair("rows", box.height, 0), box.depth > 0 && pair("slices", box.depth, 1));
  const show = (): void => made.forEach(({ input, name, end, plus }) => { if (box.at) input.value = String(box.at[name]![end] + plus); });
  return { part, show };
}

const button = (text: string, pressed: () => void): HTMLButtonElement => {
  const made = el("button", { type: "button" }, text);
  made.addEventListener("click", pressed);
  return made;
};

const middle = (size: number): Span => [Math.floor(size / 4), Math.max(Math.floor(size / 4), Math.ceil(3 * size / 4) - 1)];

function inside([first, last]: Span, size: number): Span {
  const from = Math.max(0, Math.min(size - 1, first));
  return [from, Math.max(from, Math.min(size - 1, last))];
}

function shares({ columns, rows }: BoxAt, width: number, height: number): { x: number; y: number; w: number; h: number } {
  return { x: columns[0] / width, y: rows[0] / height, w: (columns[1] - columns[0] + 1) / width, h: (rows[1] - rows[0] + 1) / height };
}
