// Linked panels: pictures of one image that are zoomed and moved together, with a lens, pixel by pixel or smooth.

import { type BoxAt, drawBox } from "./box";
import { choice } from "./controls";
import { el, LOADING } from "./page";
import { drawContour, fit } from "./pixels";
import { type View } from "./types";

/** A picture: layers over the whole image, from back to front, and an outline in pixels of the image. */
export interface Picture {
  height: number; width: number; aspect: number; layers: HTMLCanvasElement[]; lines?: number[][];
  other: HTMLCanvasElement[]; // what the lens shows instead
  wipe?: { share: number; layer: HTMLCanvasElement; words: [string, string] }; // the left part shows this layer
  note?: string; // written on the picture, beside its size
}
type Lens = "off" | "magnify" | "other";

const LEAST = 1024; // pixels of a canvas: sharp at twice the width on the page
export const SIDES = ["left", "right", "top", "bottom"];
const LENSES: Lens[] = ["off", "magnify", "other"];

export class Panels {
  readonly figures: HTMLElement[];
  readonly stages: HTMLElement[];
  readonly captions: HTMLElement[];
  readonly tags: HTMLElement[];
  readonly canvases: HTMLCanvasElement[];
  smooth = true;
  private wiped: ((share: number) => void) | null = null; // set while dragging on the changed image moves the wipe
  private drags = "window";
  private readonly corners: HTMLElement[];
  private readonly pictures: (Picture | undefined)[];
  private scale = 1;
  private x = 0.5; // what is in the middle, as a share of the image
  private y = 0.5;
  private lens: Lens = "off";
  private at: { x: number; y: number } | null = null; // the lens, in shares of the canvas

  /**
   * `measures`: letters of the sides (left, right, top, bottom), the width of the whole image in mm, and its rows and
   * columns. `view`: its box is drawn, and may be drawn by the reader; `answer`: the box of an answer.
   */
  constructor(
    names: string[], private readonly otherName: string, private readonly measures?: { letters: string | null; mm: number | null; plane: [number, number] },
    private readonly view?: View, private readonly answer?: BoxAt | null,
  ) {
    this.pictures = names.map(() => undefined);
    this.canvases = names.map(name => el("canvas", { role: "img", width: 512, height: 512, "data-panel": name, "aria-label": LOADING }));
    this.corners = names.map(() => el("div", { class: "corner" }));
    this.tags = names.map(() => el("div", { class: "tag" }));
    this.captions = names.map(() => el("figcaption", {}));
    this.stages = this.canvases.map((canvas, k) => el("div", { class: "stage" }, canvas, this.corners[k], this.tags[k]));
    if (measures?.letters) for (const stage of this.stages)
      stage.append(...[...measures.letters].map((letter, side) => el("span", { class: `letter ${SIDES[side]}` }, letter)));
    this.figures = this.stages.map((stage, k) => el("figure", { class: "panel" }, this.captions[k], stage));
    this.stages.forEach((stage, k) => this.listen(stage, this.canvases[k]));
  }

  show(k: number, picture: Picture): void {
    this.pictures[k] = picture;
    this.paint(k);
  }

  /** Where a pointer is, as shares of the image; null outside. */
  place(event: PointerEvent, canvas: HTMLCanvasElement): { x: number; y: number } | null {
    const at = shareOf(event, canvas);
    const x = this.x + (at.x - 0.5) / this.scale, y = this.y + (at.y - 0.5) / this.scale;
    return x < 0 || y < 0 || x >= 1 || y >= 1 ? null : { x, y };
  }

  zoom(by: number, at?: { x: number; y: number }): void {
    const before = this.scale;
    this.scale = Math.max(1, Math.min(16, this.scale * by));
    if (at) { // what is under the pointer stays there
      this.x += (at.x - 0.5) * (1 / before - 1 / this.scale);
      this.y += (at.y - 0.5) * (1 / before - 1 / this.scale);
    }
    this.move(0, 0);
  }

  whole(): void { this.scale = 1; this.move(0, 0); }

  /** Move the image by shares of what is shown. */
  move(dx: number, dy: number): void {
    const half = 0.5 / this.scale, inside = (at: number): number => Math.max(half, Math.min(1 - half, at));
    this.x = inside(this.x - dx / this.scale);
    this.y = inside(this.y - dy / this.scale);
    for (const stage of this.stages) stage.classList.toggle("zoomed", this.scale > 1);
    this.again();
  }

  /** Let a drag on the changed image move the wipe; null: as on the others. */
  wipeBy(moved: ((share: number) => void) | null): void { this.wiped = moved; this.tellDrag(); }

  private tellDrag(): void {
    this.stages.forEach((stage, k) => { stage.dataset.drag = this.wiped && this.canvases[k].dataset.panel === "changed" ? "wipe" : this.drags; });
  }

  /** Keys that every group of panels knows; whether the key was one of them. */
  key(event: KeyboardEvent): boolean {
    const steps: Record<string, [number, number]> = { ArrowLeft: [0.1, 0], ArrowRight: [-0.1, 0], ArrowUp: [0, 0.1], ArrowDown: [0, -0.1] };
    if (event.shiftKey && steps[event.key]) this.move(...steps[event.key]);
    else if (event.key === "+" || event.key === "=") this.zoom(1.5);
    else if (event.key === "-") this.zoom(1 / 1.5);
    else if (event.key === "0") this.whole();
    else if (event.key.toLowerCase() === "l") this.press("lens", LENSES[(LENSES.indexOf(this.lens) + 1) % LENSES.length]);
    else if (event.key.toLowerCase() === "p") this.press("pixels", this.smooth ? "pixels" : "smooth");
    else return false;
    return true;
  }

  /** Buttons of zoom and full screen, and choices of lens, pixels and what dragging does. */
  controls(whole: HTMLElement): { buttons: HTMLElement[]; choices: HTMLElement[] } {
    const button = (text: string, label: string, pressed: () => void): HTMLElement => {
      const made = el("button", { type: "button", title: label, "aria-label": label }, text);
      made.addEventListener("click", pressed);
      return made;
    };
    const full = el("button", { type: "button", "data-key": "full" }, "Full screen (F)");
    full.addEventListener("click", () => { void (document.fullscreenElement ? document.exitFullscreen() : whole.requestFullscreen()); });
    const lens = this.remember("lens", choice("Lens (L)", [["off", "off"], ["magnify", "×2"], ["other", this.otherName]], "off",
      v => { this.lens = v as Lens; this.at ??= { x: 0.5, y: 0.5 }; this.again(); }));
    const pixels = this.remember("pixels", choice("Pixels (P)", [["smooth", "smooth"], ["pixels", "as they are"]], "smooth",
      v => { this.smooth = v === "smooth"; this.again(); }));
    const drags: [string, string][] = [["window", "window and level"], ["move", "what is shown"], ...(this.view?.box ? [["box", "the box"] as [string, string]] : [])];
    const drag = this.remember("drag", choice("Dragging changes", drags, "window", v => { this.drags = v; this.tellDrag(); }));
    return {
      buttons: [button("−", "zoom out (−)", () => this.zoom(1 / 1.5)), button("+", "zoom in (+)", () => this.zoom(1.5)),
        button("Whole image", "show the whole image (0)", () => this.whole()), full],
      choices: [lens, pixels, drag],
    };
  }

  /** Let a drag draw or move the box. */
  dragBox(): void { this.press("drag", "box"); }

  private readonly known: Record<string, HTMLElement> = {};
  private remember<T extends HTMLElement>(name: string, box: T): T { this.known[name] = box; return box; }
  private press(name: string, value: string): void {
    this.known[name]?.querySelector<HTMLInputElement>(`input[value=${value}]`)?.click();
  }

  private again(): void { this.pictures.forEach((_, k) => this.paint(k)); }

  private paint(k: number): void {
    const picture = this.pictures[k];
    if (!picture) return;
    const context = fit(this.canvases[k], picture.height, picture.width, picture.aspect, LEAST);
    const { width: w, height: h } = context.canvas;
    this.look(context, picture, picture.layers, 1);
    if (picture.wipe) this.wipe(context, picture, picture.wipe);
    if (this.lens !== "off" && this.at) {
      const [x, y, r] = [this.at.x * w, this.at.y * h, 0.16 * Math.min(w, h)];
      context.save();
      context.beginPath();
      context.arc(x, y, r, 0, 2 * Math.PI);
      context.clip();
      context.clearRect(0, 0, w, h);
      this.look(context, picture, this.lens === "other" ? picture.other : picture.layers, this.lens === "other" ? 1 : 2);
      context.restore();
      for (const [colour, wide] of [["#000", 5], ["#fff", 2.5]] as const) {
        context.strokeStyle = colour;
        context.lineWidth = wide;
        context.beginPath();
        context.arc(x, y, r, 0, 2 * Math.PI);
        context.stroke();
      }
    }
    if (this.measures?.mm) ruler(context, this.measures.mm / this.scale);
    this.corners[k].textContent = [
      `${picture.width} × ${picture.height} px, ${this.smooth ? "smoothed" : "pixels as they are"}`,
      this.scale > 1 && `zoom ×${this.scale.toFixed(1)}`,
      this.lens === "magnify" ? "lens ×2" : this.lens === "other" && `lens: ${this.otherName}`,
      picture.note].filter(Boolean).join(" · ");
    this.corners[k].classList.toggle("noted", Boolean(picture.note));
  }

  /** Draw layers and outline as zoomed; enlarged again around the lens. */
  private look(context: CanvasRenderingContext2D, picture: Picture, layers: HTMLCanvasElement[], by: number): void {
    const { width: w, height: h } = context.canvas, s = this.scale * by;
    context.save();
    if (by > 1 && this.at) context.transform(by, 0, 0, by, (1 - by) * this.at.x * w, (1 - by) * this.at.y * h);
    context.transform(this.scale, 0, 0, this.scale, (0.5 - this.x * this.scale) * w, (0.5 - this.y * this.scale) * h);
    context.imageSmoothingEnabled = this.smooth;
    context.imageSmoothingQuality = "high";
    for (const layer of layers) context.drawImage(layer, 0, 0, w, h);
    if (picture.lines?.length && layers === picture.layers) drawContour(context, picture.lines, picture.width, picture.height, s / 1.6);
    this.boxes(context, s / 1.6);
    context.restore();
  }

  private boxes(context: CanvasRenderingContext2D, scale: number): void {
    const { view, measures } = this, size = measures && { width: measures.plane[1], height: measures.plane[0] };
    for (const [box, answer] of [[this.answer, true], [view?.box?.at, false]] as const) {
      const here = !box?.slices || (view?.slice !== undefined && view.slice >= box.slices[0] && view.slice <= box.slices[1]);
      if (box && size && here) drawBox(context, box, size, answer, scale);
    }
  }

  private wipe(context: CanvasRenderingContext2D, picture: Picture, wipe: NonNullable<Picture["wipe"]>): void {
    const { width, height } = context.canvas, x = Math.round(wipe.share * width);
    context.save();
    context.beginPath();
    context.rect(0, 0, x, height);
    context.clip();
    context.clearRect(0, 0, x, height);
    this.look(context, picture, [wipe.layer], 1);
    context.restore();
    context.fillStyle = "#fff";
    context.fillRect(x - 1, 0, 3, height);
    context.font = `${Math.round(width / 36)}px system-ui, sans-serif`;
    for (const [text, side, place] of [[wipe.words[0], "right", x - 12], [wipe.words[1], "left", x + 12]] as const) {
      context.textAlign = side;
      context.lineWidth = 5;
      context.strokeStyle = "#000";
      context.strokeText(text, place, 0.92 * height);
      context.fillText(text, place, 0.92 * height);
    }
  }

  /** Whether a pointer draws the box: with shift, or where dragging is set to. */
  private boxing(stage: HTMLElement, event: MouseEvent): boolean {
    return Boolean(this.view?.box) && event.button === 0 && (event.shiftKey || stage.dataset.drag === "box");
  }

  /** Draw the box with a drag; one that begins inside the box, without shift, moves it. */
  private draws(stage: HTMLElement, canvas: HTMLCanvasElement): void {
    const box = this.view!.box!;
    let from: { x: number; y: number } | null = null, held: BoxAt | null = null;
    const share = (event: PointerEvent): { x: number; y: number } => {
      const at = shareOf(event, canvas), within = (value: number): number => Math.max(0, Math.min(1, value));
      return { x: within(this.x + (at.x - 0.5) / this.scale), y: within(this.y + (at.y - 0.5) / this.scale) };
    };
    stage.addEventListener("mousedown", event => { if (this.boxing(stage, event)) event.preventDefault(); }); // selects no text
    stage.addEventListener("pointerdown", event => {
      if (!this.boxing(stage, event)) return;
      stage.setPointerCapture(event.pointerId);
      from = share(event);
      held = !event.shiftKey && box.holds(from) ? box.at : null;
    });
    stage.addEventListener("pointermove", event => {
      if (!from) return;
      const to = share(event);
      if (held) box.move(Math.round((to.x - from.x) * box.width), Math.round((to.y - from.y) * box.height), false, held);
      else box.between(from, to);
    });
    for (const end of ["pointerup", "pointercancel"]) stage.addEventListener(end, () => { from = null; });
  }

  private listen(stage: HTMLElement, canvas: HTMLCanvasElement): void {
    let from: { x: number; y: number } | null = null, wiping = false;
    if (this.view?.box) this.draws(stage, canvas);
    stage.addEventListener("pointerdown", event => {
      if (this.boxing(stage, event)) return;
      const moves = stage.dataset.drag === "move" || event.button === 1 || (event.pointerType === "touch" && this.scale > 1);
      wiping = Boolean(this.wiped) && canvas.dataset.panel === "changed" && event.button === 0;
      if (!moves && !wiping) return;
      event.preventDefault();
      stage.focus?.();
      stage.setPointerCapture(event.pointerId);
      from = { x: event.clientX, y: event.clientY };
      if (wiping) this.wiped?.(shareOf(event, canvas).x);
    });
    stage.addEventListener("pointermove", event => {
      const box = canvas.getBoundingClientRect();
      if (wiping) this.wiped?.(Math.max(0, Math.min(1, shareOf(event, canvas).x)));
      else if (from) {
        this.move((event.clientX - from.x) / box.width, (event.clientY - from.y) / box.height);
        from = { x: event.clientX, y: event.clientY };
      }
      if (this.lens !== "off") { this.at = shareOf(event, canvas); this.again(); }
    });
    for (const end of ["pointerup", "pointercancel"]) stage.addEventListener(end, () => { from = null; wiping = false; });
    stage.addEventListener("wheel", event => { // the page scrolls, unless it is asked to zoom
      if (!event.ctrlKey && !document.fullscreenElement) return;
      event.preventDefault();
      this.zoom(event.deltaY < 0 ? 1.2 : 1 / 1.2, shareOf(event, canvas));
    }, { passive: false });
  }
}

/** A bar of a round length, at most a quarter of what is shown, which is so many mm wide. */
function ruler(context: CanvasRenderingContext2D, mm: number): void {
  const { width: w, height: h } = context.canvas;
  const ten = 10 ** Math.floor(Math.log10(mm / 4)), length = [5, 2, 1].map(step => step * ten).find(one => one <= mm / 4) ?? ten;
  const long = length / mm * w, [x, y] = [0.97 * w - long, 0.93 * h];
  const size = Math.round(w / 20), words = `${length} mm`, above = y - 14;
  context.font = `${size}px system-ui, sans-serif`;
  context.textAlign = "center";
  const across = Math.max(long, context.measureText(words).width + size / 2), middle = Math.min(x + long / 2, w - across / 2);
  context.fillStyle = "rgb(0 0 0 / 70%)"; // behind the words, on any grey
  context.fillRect(middle - across / 2, above - size, across, 1.2 * size);
  for (const [colour, wide] of [["#000", 7], ["#fff", 3]] as const) {
    context.strokeStyle = colour;
    context.lineWidth = wide;
    context.beginPath();
    for (const [x0, y0, x1, y1] of [[x, y, x + long, y], [x, y - 7, x, y + 7], [x + long, y - 7, x + long, y + 7]]) {
      context.moveTo(x0, y0);
      context.lineTo(x1, y1);
    }
    context.stroke();
  }
  context.fillStyle = "#fff";
  context.fillText(words, middle, above);
}

function shareOf(event: MouseEvent, canvas: HTMLCanvasElement): { x: number; y: number } {
  const box = canvas.getBoundingClientRect();
  return { x: (event.clientX - box.left) / box.width, y: (event.clientY - box.top) / box.height };
}
