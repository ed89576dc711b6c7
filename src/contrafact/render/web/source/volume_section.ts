// A volume in three linked planes and as a rendering, with the map over it. NiiVue renders it and is loaded here only.

import { choice, painter, slider } from "./controls";
import { type ImageAbout, type MapAbout, type StripAbout, type View } from "./types";
import { el, short, signed, tell } from "./page";
import type { Place, Sight, NiivueScene } from "./niivue_scene";
import { ends, scaleBar } from "./legend";
import { displayed } from "./strip";
import { faint, ownScaleWords, shareControl } from "./where";
import { SIDES } from "./panels";
import { windowControls } from "./window";

const SIGHTS: [Sight, string][] = [
  ["planes", "planes and rendering"], ["axial", "axial"], ["coronal", "coronal"], ["sagittal", "sagittal"], ["render", "rendering"]];
const AXES = [["Sagittal slice", "left", "right"], ["Coronal slice", "back", "front"], ["Axial slice", "foot", "head"]] as const;
const WALKS: Record<Sight, number> = { planes: 2, axial: 2, coronal: 1, sagittal: 0, render: -1 };
const NO_WEBGL = "This browser has no WebGL 2, which planes and rendering need. The slices above show the same values.";

/** What the panel shows. place: the crosshair, once known; level: the least value that is drawn; plays: how often Play was pressed. */
interface State {
  shown: MapAbout | StripAbout | null; frame: number; opacity: number; own: boolean; hidden: boolean;
  sight: Sight; azimuth: number; elevation: number; cut: number; channel: number;
  place: Place | null; level: number; playing: boolean; plays: number;
}

export function volumeSection(image: ImageAbout, maps: MapAbout[], strips: StripAbout[], view: View): HTMLElement {
  const card = (...parts: Node[]): HTMLElement => el("section", { class: "card", "aria-labelledby": "solid" },
    el("h2", { id: "solid" }, "In three dimensions"), ...parts);
  if (!document.createElement("canvas").getContext("webgl2")) return card(el("p", { class: "dim" }, NO_WEBGL));
  const choices: (MapAbout | StripAbout)[] = [...maps, ...strips.filter(strip => !strip.picture).map(displayed)];
  const state: State = {
    shown: choices[0] ?? null, frame: lastOf(choices[0]), opacity: 85, own: faint(maps[0]), hidden: false,
    sight: "planes", azimuth: 110, elevation: 15, cut: 0.3, channel: 0,
    place: null, level: 0, playing: false, plays: 0,
  };
  const canvas = el("canvas", { role: "img", "aria-label": "the volume is loading" });
  const stage = el("div", { class: "solid", tabindex: 0, role: "group", "aria-label": "volume. Arrows and page up and down "
    + "move the crosshair, V changes the view, H hides the map, space plays, S goes to the strongest voxel" }, canvas);
  const ruler = el("div", { class: "ruler", hidden: true });
  const letters = el("div", { "aria-hidden": "true" });
  stage.append(letters, ruler);
  const readout = el("p", { class: "small under", role: "status", id: "place-read" }, "loading …");
  const legend = el("div", { class: "legend" });
  const page = new Page(image, state, view, { canvas, stage, readout, legend, ruler, letters });
  const controls = page.controls(choices);
  new IntersectionObserver((seen, watch) => { // only when it becomes visible: rendering without a GPU takes seconds
    if (!seen.some(one => one.isIntersecting)) return;
    watch.disconnect();
    page.start().catch(error => {
      readout.textContent = "The volume could not be displayed. The slices above show the same values.";
      tell(error);
    });
  }, { threshold: 0.2 }).observe(stage);
  return card(el("div", { class: "volumes" }, el("div", {}, stage, legend, readout), controls),
    el("p", { class: "dim small" }, "The patient's right and front are on the left, as on the slices above. Rendered by ",
      el("a", { href: "/web/licences.txt" }, "NiiVue"), ", from this machine."));
}

const isStrip = (shown: MapAbout | StripAbout): shown is StripAbout => "frames" in shown || "requested" in shown;
const lastOf = (shown?: MapAbout | StripAbout): number => shown && isStrip(shown) ? (shown.origin ? 0 : shown.requested.length - 1) : 0;

class Page {
  private scene: NiivueScene | null = null;
  private sliders: ReturnType<typeof slider>[] = [];
  private frames: HTMLElement = el("div");
  private readonly load = painter(async () => { if (this.scene) await this.reload(this.scene); });
  private readonly lay = painter(async () => { this.layer(); });

  constructor(
    private readonly image: ImageAbout, private readonly state: State, private readonly view: View,
    private readonly parts: { canvas: HTMLCanvasElement; stage: HTMLElement; readout: HTMLElement; legend: HTMLElement; ruler: HTMLElement; letters: HTMLElement },
  ) {
    let share = view.share, { low, high } = view.window;
    view.redraw.push(() => {
      if (low !== view.window.low || high !== view.window.high) this.scene?.window(view.window.low, view.window.high);
      if (share !== view.share) this.lay(); // shared with the slices
      ({ share, window: { low, high } } = view);
    });
    for (const kind of ["keydown", "keyup"] as const)
      parts.stage.addEventListener(kind, event => { event.stopPropagation(); if (kind === "keydown") this.key(event); }, true);
  }

  async start(): Promise<void> {
    const address = "/web/niivue_scene.js", { NiivueScene } = await import(address) as typeof import("./niivue_scene");
    const scene = await NiivueScene.on(this.parts.canvas, place => this.moved(place));
    const { shown, frame, channel } = this.state;
    await this.reload(scene);
    this.scene = scene; // from here on the controls may move it
    scene.window(this.view.window.low, this.view.window.high); // the window may have changed while the volume loaded
    this.sliders.forEach(one => { one.input.disabled = false; });
    if (this.state.place) this.moved(this.state.place);
    this.layer();
    if (shown !== this.state.shown || frame !== this.state.frame || channel !== this.state.channel) this.load();
    this.scene.sight(this.state.sight);
    addEventListener("resize", () => this.measure());
    this.measure();
    this.scene.turn(this.state.azimuth, this.state.elevation, this.state.cut);
    this.parts.stage.dataset.ready = "yes";
  }

  private async reload(scene: NiivueScene): Promise<void> {
    const { shown, frame, channel } = this.state;
    const row = shown?.row ?? this.image.row, at = shown && isStrip(shown) ? shown.order[frame] : 0;
    const base = shown && isStrip(shown) ? `frames.nii.gz?frame=${at}` : "image.nii.gz?frame=0";
    const over = !shown ? null : isStrip(shown) ? `change.nii.gz?frame=${at}` : "values.nii.gz";
    const [image, map] = await Promise.all([`${base}&channel=${channel}`, over].map(name => name ? content(`/volume/${row}/${name}`) : null));
    await scene.show(image!, map, this.view.window, Boolean(shown && !isStrip(shown) && shown.sign < 0));
    scene.size.forEach((count, axis) => { this.sliders[axis].input.max = String(count - 1); });
    this.layer();
    if (this.state.place) this.moved(this.state.place); // the ranges of the sliders are known now
  }

  private layer(): void {
    const { shown, opacity, own, hidden } = this.state, share = this.view.share!;
    if (!this.scene || !shown) return;
    const scale = isStrip(shown) ? shown.difference.scale : own ? shown.own : shown.shared;
    this.state.level = this.scene.overlay({ scale, opacity: hidden ? 0 : opacity / 100, share: share / 100,
      level: isStrip(shown) ? undefined : shown.levels[100 - share] });
    const sides = isStrip(shown) ? [`darker by ${short(scale)}`, `brighter by ${short(scale)}`]
      : [`${shown.blue}: ${short(scale)}`, `${shown.orange}: ${short(scale)}`];
    const words = isStrip(shown) ? ` Difference from the original; ${shown.difference.words}.`
      : own ? ` ${ownScaleWords(shown)}.` : " Cohort scale: maps of this model by this method.";
    this.parts.legend.replaceChildren(scaleBar(opacity / 100), ends(sides[0], "0", sides[1]),
      el("p", { class: "dim small" }, share < 100 ? `Shown: the strongest ${share} %, ${short(this.state.level)} and more.` : "Shown: every voxel.",
        words, !isStrip(shown) && shown.flaw ? ` ${shown.flaw}` : ""));
    this.parts.canvas.setAttribute("aria-label", hidden ? "the volume alone" : `the volume with ${nameOf(shown)} over it`);
  }

  private moved(place: Place): void {
    this.state.place = place;
    this.measure();
    place.ras.forEach((at, axis) => this.sliders[axis].set(Math.round(at)));
    const known = !this.image.spacing.includes("unknown");
    const said = known ? [["left", "right"], ["back", "front"], ["foot", "head"]].map(([less, more], axis) =>
      `${Math.abs(place.mm[axis]).toFixed(1)} mm ${place.mm[axis] < 0 ? less : more}`).join(", ") : this.image.spacing;
    const { shown } = this.state, value = place.map;
    const what = shown && isStrip(shown) ? "change" : "map";
    this.parts.readout.textContent = `Voxel ${place.voxel.map(Math.round).join(", ")} (${said}): image ${short(place.image)}`
      + (value === null ? "" : `, ${what} ${signed(Number(value.toPrecision(3)), digits(value))}`);
  }

  /** Letters on the sides of every plane, and a bar of a round length in mm: the planes have one scale. */
  private measure(): void {
    requestAnimationFrame(() => {
      this.parts.letters.replaceChildren(...(this.scene?.planes ?? []).map(({ letters, box: [left, top, width, height] }) => {
        const plane = el("div", { class: "plane" }, ...[...letters].map((letter, side) => el("span", { class: `letter ${SIDES[side]}` }, letter)));
        Object.assign(plane.style, { left: `${left}px`, top: `${top}px`, width: `${width}px`, height: `${height}px` });
        return plane;
      }));
      const { ruler } = this.parts, mm = this.scene?.scale;
      ruler.hidden = !mm || this.image.spacing.includes("unknown");
      if (!mm) return;
      const most = 120 * mm, ten = 10 ** Math.floor(Math.log10(most)), length = [5, 2, 1].map(k => k * ten).find(one => one <= most) ?? ten;
      ruler.style.width = `${length / mm}px`;
      ruler.textContent = `${length} mm`;
    });
  }

  private step(axis: number, by: number): void {
    if (!this.scene || !this.state.place) return;
    const ras = this.state.place.ras.map(Math.round), count = this.scene.size[axis];
    ras[axis] = (ras[axis] + by + count) % count;
    this.scene.to(ras);
  }

  private turn(): void { this.scene?.turn(this.state.azimuth, this.state.elevation, this.state.cut); }

  /** Play the slices of the plane, or rotate the rendering. The next step waits until the last one is on the screen. */
  private play(button: HTMLButtonElement): void {
    this.state.playing = !this.state.playing;
    button.textContent = this.state.playing ? "Stop" : "Play";
    this.parts.readout.setAttribute("aria-live", this.state.playing ? "off" : "polite"); // screen readers must not announce every slice
    const mine = ++this.state.plays;
    const next = (): void => {
      const axis = WALKS[this.state.sight];
      if (!this.state.playing || mine !== this.state.plays) return;
      if (axis >= 0) this.step(axis, 1);
      else { this.state.azimuth = (this.state.azimuth + 4) % 360; this.sliders[3].set(this.state.azimuth); this.turn(); }
      requestAnimationFrame(() => setTimeout(next, 120));
    };
    next();
  }

  private key(event: KeyboardEvent): void {
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    const walked = this.state.sight === "sagittal" ? 0 : this.state.sight === "coronal" ? 1 : 2;
    const [across, up] = [walked === 0 ? 1 : 0, walked === 2 ? 1 : 2];
    const steps: Record<string, [number, number]> = { // the patient's right and front are on the viewer's left
      ArrowLeft: [across, 1], ArrowRight: [across, -1], ArrowUp: [up, 1], ArrowDown: [up, -1], PageUp: [walked, 1], PageDown: [walked, -1] };
    const press = (name: string): void => this.parts.stage.closest("section")!.querySelector<HTMLElement>(`[data-key=${name}]`)?.click();
    if (steps[event.key]) this.step(...steps[event.key]);
    else if (event.key === " ") press("play");
    else if (event.key.toLowerCase() === "h") press("hide");
    else if (event.key.toLowerCase() === "s") this.scene?.strongest();
    else if (event.key.toLowerCase() === "v") {
      const next = SIGHTS[(SIGHTS.findIndex(([name]) => name === this.state.sight) + 1) % SIGHTS.length][0];
      this.parts.stage.closest("section")!.querySelector<HTMLElement>(`input[value=${next}]`)?.click();
    } else return;
    event.preventDefault();
  }

  controls(choices: (MapAbout | StripAbout)[]): HTMLElement {
    const { state } = this, percent = (v: number) => `${v} %`;
    const spatial = AXES.map(([label, less, more], axis) => slider(label, { min: 0, max: 1, step: 1, value: 0 },
      at => `${at + 1} of ${this.scene?.size[axis] ?? 1}, from ${less} to ${more}`, at => {
        if (!this.scene || !this.state.place) return;
        const ras = this.state.place.ras.map(Math.round);
        ras[axis] = at;
        this.scene.to(ras);
      }));
    const turns = el("div", { class: "controls" });
    const angle = (label: string, min: number, max: number, key: "azimuth" | "elevation" | "cut", say: (v: number) => string) =>
      slider(label, { min, max, step: key === "cut" ? 0.01 : 1, value: state[key] }, say, v => { state[key] = v; this.turn(); });
    spatial.forEach(one => { one.input.disabled = true; }); // until the volume is loaded
    this.sliders = [...spatial, angle("Turn", 0, 359, "azimuth", v => `${v}°`), angle("Tilt", -90, 90, "elevation", v => `${v}°`),
      angle("Cut", 0, 1, "cut", v => v ? `${Math.round(100 * v)} % of the depth` : "off")];
    turns.append(...this.sliders.slice(3).map(one => one.box));
    const hide = el("input", { type: "checkbox", "data-key": "hide" });
    hide.addEventListener("change", () => { state.hidden = hide.checked; this.lay(); });
    const play = el("button", { type: "button", "data-key": "play" }, "Play"), strongest = el("button", { type: "button" }, "Strongest voxel");
    play.addEventListener("click", () => this.play(play));
    strongest.addEventListener("click", () => this.scene?.strongest());
    const sights = choice("View", SIGHTS, state.sight, value => {
      state.sight = value as Sight;
      turns.hidden = !["planes", "render"].includes(value);
      this.scene?.sight(state.sight);
      this.measure();
    });
    this.frames.replaceChildren(...this.frameSlider());
    const some = choices.length > 0;
    let scales: HTMLElement | false = false;
    return el("div", { class: "controls" },
      choices.length > 1 && choice("Over the volume", choices.map(one => [String(one.row), nameOf(one, choices)]), String(choices[0].row), row => {
        state.shown = choices.find(one => String(one.row) === row) ?? null;
        state.frame = lastOf(state.shown ?? undefined);
        state.own = Boolean(state.shown && !isStrip(state.shown) && faint(state.shown));
        if (scales) scales.querySelectorAll("input").forEach(input => { input.checked = (input.value === "own") === state.own; });
        this.frames.replaceChildren(...this.frameSlider());
        this.load();
      }),
      this.frames, sights, ...spatial.map(one => one.box), el("div", { class: "row-of" }, play, some && strongest), turns,
      this.image.channels > 1 && slider("Channel", { min: 0, max: this.image.channels - 1, step: 1, value: 0 },
        v => `${v + 1} of ${this.image.channels}`, v => { state.channel = v; this.load(); }).box,
      some && shareControl("Threshold", this.view),
      some && slider("Opacity", { min: 0, max: 100, step: 1, value: state.opacity }, percent, v => { state.opacity = v; this.lay(); }).box,
      scales = choices.some(one => !isStrip(one)) && choice("Scale", [["fixed", "cohort"], ["own", "per image"]], state.own ? "own" : "fixed",
        v => { state.own = v === "own"; this.lay(); }),
      some && el("label", { class: "check" }, hide, " Hide the map (H)"),
      ...windowControls(this.image, this.view));
  }

  private frameSlider(): HTMLElement[] {
    const { shown } = this.state;
    if (!shown || !isStrip(shown)) return [];
    return [slider("Frame", { min: 0, max: shown.requested.length - 1, step: 1, value: this.state.frame },
      k => `${k} of ${shown.requested.length - 1}: ${shown.kinds[k]}, ${shown.levels[k]}`,
      k => { this.state.frame = k; this.load(); }).box,
    el("p", { class: "tag-line small" }, `Frame ${shown.origin} is the original; the others are synthetic, not for diagnosis. Colours: difference from the original.`)];
  }
}

/** Digits after the point for three significant digits. */
const digits = (value: number): number => value ? Math.max(0, 2 - Math.floor(Math.log10(Math.abs(value)))) : 2;

/** The label, with the target where there are several targets. */
function nameOf(shown: MapAbout | StripAbout, among: (MapAbout | StripAbout)[] = []): string {
  const one = new Set(among.map(other => other.target)).size === 1;
  return (isStrip(shown) ? "change by " : "") + (one ? shown.label : `${shown.label}, ${shown.target_name}`);
}

async function content(address: string): Promise<ArrayBuffer> {
  const answer = await fetch(address);
  if (!answer.ok) throw new Error(await answer.text());
  return answer.arrayBuffer();
}
