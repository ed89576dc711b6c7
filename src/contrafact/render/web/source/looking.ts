// The pictures of a trial: zoom, move, window and level, and the slice of a volume, of all pictures together.

import { painter, slider } from "./controls";
import { el, short } from "./page";

export interface Picture { source: string; name: string; caption: string }
export interface Looking {
  figures: HTMLElement[]; controls: HTMLElement[]; ready: Promise<void>;
  /** Whether a key was one of these controls; arrows within a control of the page are not. */
  key: (key: string, arrowsTaken: boolean) => boolean;
}
const MOST = 8; // times enlarged

export function looking(pictures: Picture[], about: { window: [number, number]; slices: number }): Looking {
  const [low, high] = about.window, span = Math.max(high - low, 1e-6), middle = Math.floor(about.slices / 2);
  const now = { level: (low + high) / 2, width: span, slice: middle, zoom: 1, x: 0, y: 0 };
  const holders = pictures.map(() => el("div", { class: "holder" }));
  const figures = pictures.map((picture, k) => el("figure", {}, holders[k],
    picture.caption && el("figcaption", { "aria-hidden": "true" }, picture.caption)));

  const address = (picture: Picture): string => {
    const changed = now.level !== (low + high) / 2 || now.width !== span;
    const window = changed ? `&low=${now.level - now.width / 2}&high=${now.level + now.width / 2}` : "";
    return `${picture.source}${window}${about.slices > 1 ? `&slice=${now.slice}` : ""}`;
  };
  const load = async (): Promise<void> => {
    const loaded = pictures.map(picture => el("img", { src: address(picture), alt: picture.name, draggable: "false" }));
    await Promise.all(loaded.map(one => one.decode()));
    loaded.forEach((one, k) => holders[k].replaceChildren(one));
    place();
  };
  /** Again, unless the next trial has come: its pictures are others. */
  const redraw = painter(async () => { if (figures[0]?.isConnected) await load().catch(error => { if (figures[0].isConnected) throw error; }); });
  const place = (): void => {
    const most = (now.zoom - 1) / 2;
    now.x = Math.max(-most, Math.min(most, now.x));
    now.y = Math.max(-most, Math.min(most, now.y));
    for (const holder of holders) {
      const image = holder.firstElementChild as HTMLElement | null;
      if (image) image.style.transform = `translate(${100 * now.x}%, ${100 * now.y}%) scale(${now.zoom})`;
      holder.dataset.zoom = short(now.zoom);
    }
  };

  const level = slider("Brightness", { min: low - span, max: high + span, step: "any", value: now.level }, short, value => { now.level = value; redraw(); });
  const width = slider("Window", { min: span / 64, max: 2 * span, step: "any", value: now.width }, short, value => { now.width = value; redraw(); });
  const slice = about.slices > 1
    ? slider("Slice", { min: 0, max: about.slices - 1, step: 1, value: middle }, at => `${at + 1} of ${about.slices}`, at => { now.slice = at; redraw(); }) : null;
  const zoomBy = (times: number): void => { now.zoom = Math.max(1, Math.min(MOST, now.zoom * times)); place(); };
  const windowTo = (centre: number, wide: number): void => {
    now.level = Math.max(low - span, Math.min(high + span, centre));
    now.width = Math.max(span / 64, Math.min(2 * span, wide));
    level.set(now.level);
    width.set(now.width);
    redraw();
  };
  const sliceTo = (at: number): void => {
    now.slice = Math.max(0, Math.min(about.slices - 1, at));
    slice?.set(now.slice);
    redraw();
  };
  const reset = (): void => { now.zoom = 1; now.x = now.y = 0; windowTo((low + high) / 2, span); sliceTo(middle); place(); };
  const button = (text: string, name: string, act: () => void): HTMLElement => {
    const made = el("button", { type: "button", "aria-label": name }, text);
    made.addEventListener("click", act);
    return made;
  };
  holders.forEach(holder => drag(holder, (x, y) => {
    if (now.zoom > 1) { now.x += x; now.y += y; place(); } else windowTo(now.level - y * span, now.width + x * span);
  }));

  const moves: Record<string, () => void> = {
    "+": () => zoomBy(1.25), "=": () => zoomBy(1.25), "-": () => zoomBy(0.8), "0": reset,
    w: () => windowTo(now.level, now.width * 0.8), s: () => windowTo(now.level, now.width * 1.25),
    a: () => windowTo(now.level + span / 20, now.width), d: () => windowTo(now.level - span / 20, now.width),
  };
  const step = 0.1;
  const arrows: Record<string, () => void> = {
    ArrowLeft: () => { now.x += step; }, ArrowRight: () => { now.x -= step; }, ArrowUp: () => { now.y += step; }, ArrowDown: () => { now.y -= step; },
  };
  const key = (name: string, arrowsTaken: boolean): boolean => {
    const move = moves[name.length === 1 ? name.toLowerCase() : name];
    if (move) { move(); return true; }
    if (slice && (name === "PageUp" || name === "PageDown")) { sliceTo(now.slice + (name === "PageUp" ? 1 : -1)); return true; }
    if (!arrows[name] || arrowsTaken || now.zoom === 1) return false;
    arrows[name]();
    place();
    return true;
  };
  const controls = [button("+", "enlarge", moves["+"]), button("−", "make smaller", moves["-"]), button("Reset view", "reset view", reset),
    level.box, width.box, ...(slice ? [slice.box] : [])];
  return { figures, controls, ready: load(), key };
}

/** Tell how far a drag goes, as shares of the element's size. */
function drag(stage: HTMLElement, moved: (x: number, y: number) => void): void {
  let from: { x: number; y: number } | null = null;
  stage.addEventListener("pointerdown", event => {
    if ((event.pointerType === "touch" && stage.dataset.zoom === "1") || event.button !== 0) return; // a finger scrolls
    from = { x: event.clientX, y: event.clientY };
    stage.setPointerCapture(event.pointerId);
  });
  stage.addEventListener("pointermove", event => {
    if (!from) return;
    moved((event.clientX - from.x) / stage.clientWidth, (event.clientY - from.y) / stage.clientHeight);
    from = { x: event.clientX, y: event.clientY };
  });
  for (const end of ["pointerup", "pointercancel"]) stage.addEventListener(end, () => { from = null; });
}
