// Live explanations: change the image with a slider, or compute a new explanation. Workers of the server compute.

import { choice, painter, slider, trustCard } from "./controls";
import { type ImageAbout, type MapAbout, type StripAbout, type View } from "./types";
import { el, getJson, postJson, short, signed } from "./page";
import { draw, fit, getValues, greyPixels, signedPixels, type Values } from "./pixels";
import { stripSection } from "./strip";
import { faint, legendOf, turned } from "./where";

interface Target { text: string; name: string; odds: boolean; unit: string; start: number; span: number; strips: string[]; holds: string[] }
interface Able { slides: boolean; holds: boolean; latent: boolean }
interface Offer { bundle: string; model: string; targets: Target[]; maps: string[]; methods: Record<string, Able>; why_not: string }
interface Told extends Partial<Offer> { state: "loading" | "ready" | "none"; reason?: string; session: string }
interface Held { name: string; from: number; to: number }
interface Moved { score: number; length: number; spent: boolean; aspect: number; held: Held[]; shape: number[]; frame: string }
interface Progress {
  state: "waiting" | "running" | "done" | "failed" | "cancelled"; words?: string; count?: number; of?: number | null;
  error: string; seconds: number; kind?: "latent" | "strip" | "map"; about?: unknown; held?: Held[];
}

interface Page { id: string; image: ImageAbout; session: string }

const pause = (milliseconds: number) => new Promise(done => setTimeout(done, milliseconds));
const chance = (score: number): string => score > 5.3 ? ">99 %" : score < -5.3 ? "<1 %" : `${(100 / (1 + Math.exp(-score))).toFixed(0)} %`;

/** The live panel of a case page; it says why where live explanations are not available. */
export function liveSection(id: string, image: ImageAbout, view: View): HTMLElement {
  const status = el("p", { class: "dim", role: "status", id: "live-status" }, "loading the model …");
  const section = el("section", { class: "card live", "aria-labelledby": "live" },
    el("h2", { id: "live" }, "Live explanation"), status);
  enter(id).then(told => {
    if (told.state === "none") status.textContent = `Not available: ${told.reason}`;
    else new Panel(section, status, { id, image, session: told.session }, told as Offer, view);
  }).catch(error => { status.textContent = lineOf(error); });
  return section;
}

async function enter(id: string): Promise<Told> {
  let session: string | undefined;
  for (;;) {
    const told = await postJson<Told>("/live/about", { case: id, session });
    if (told.state !== "loading") return told;
    session = told.session;
    await pause(400);
  }
}

function lineOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

class Panel {
  private target: Target;
  private by: "asked" | "reached" = "asked";
  private amount = 0;
  private held = new Set<string>();
  private found = new Set<string>(); // targets for which the image is inverted
  private job = "";
  private asking = false; // from the request to its result; the job id follows a little later
  private moving = false;
  private follows = false; // the slider was released: the latent path follows the model
  private again = false;
  private now: (Values & { aspect?: number }) | null = null;
  private readonly method = el("select", { id: "live-method" });
  private readonly goal = el("div", { class: "controls" });
  private readonly stage = el("canvas", { role: "img", width: 320, height: 320, "aria-label": "the changed image" });
  private readonly tag = el("div", { class: "tag" });
  private readonly view_ = el("div", {}, el("div", { class: "stage" }, this.stage, this.tag));
  private readonly read = el("dl", { class: "read" });
  private readonly bar = el("progress", { "aria-label": "progress", hidden: true });
  private readonly ask = el("button", { type: "button" }, "Explain");
  private readonly cancel = el("button", { type: "button", hidden: true }, "Cancel");
  private readonly answer = el("div", {});
  private readonly paint: () => void;
  private readonly mark: number; // painters of the page itself; those of a result follow

  constructor(
    section: HTMLElement, private readonly status: HTMLElement, private readonly page: Page,
    private readonly offer: Offer, private readonly view: View,
  ) {
    this.target = offer.targets[0];
    this.paint = painter(async () => this.put(this.now ?? await getValues(page.image.row, "image", view.slice)));
    view.redraw.push(() => this.slides && this.paint());
    this.mark = view.redraw.length;
    const target = el("select", { id: "live-target" }, ...offer.targets.map(t => el("option", { value: t.text }, t.name)));
    target.addEventListener("change", () => {
      this.target = offer.targets.find(t => t.text === target.value)!;
      this.amount = 0;
      this.held.clear();
      this.methods();
    });
    this.method.addEventListener("change", () => this.goals());
    this.ask.addEventListener("click", () => this.explain());
    this.cancel.addEventListener("click", () => { if (this.job) postJson("/live/cancel", { job: this.job }).catch(e => this.say(lineOf(e))); });
    addEventListener("pagehide", () => this.leave());
    section.append(
      el("div", { class: "columns" },
        this.view_,
        el("div", { class: "controls" },
          el("label", { class: "field" }, "Target", target), el("label", { class: "field" }, "Method", this.method), this.goal,
          el("div", { class: "row-of" }, this.ask, this.cancel), this.bar),
        el("div", { class: "beside" }, this.read,
          el("p", { class: "dim small" }, `Model ${offer.model} of bundle ${offer.bundle}. While you drag the slider, the image changes along `
            + "the global direction; when you release it, the latent path follows the model. The prediction is computed for every image shown. "
            + "Explain computes all frames and their reliability checks. Nothing is stored unless you keep it."),
          offer.why_not !== "" && el("p", { class: "doubt" }, `No counterfactuals: ${offer.why_not}`))),
      this.answer);
    this.methods();
    this.say("Ready.");
  }

  private say(words: string): void { this.status.textContent = words; }

  private get walks(): boolean { return this.target.strips.includes(this.method.value); }
  private get able(): Able { return this.offer.methods[this.method.value] ?? { slides: false, holds: false, latent: false }; }
  private get slides(): boolean { return this.able.slides; }

  /** List the methods that are available for this target. */
  private methods(): void {
    const before = this.method.value, names = [...this.target.strips, ...this.offer.maps];
    this.method.replaceChildren(...names.map(name =>
      el("option", { value: name }, `${this.target.strips.includes(name) ? "counterfactual" : "map"}: ${name}`)));
    if (names.includes(before)) this.method.value = before;
    this.goals();
  }

  /** Show the controls of the method: for a counterfactual, a goal and the scores to keep constant. */
  private goals(): void {
    const { target } = this;
    this.now = null;
    this.view_.hidden = !this.slides;
    this.read.replaceChildren();
    if (!this.walks) { this.goal.replaceChildren(); return; }
    const ways: [string, string][] = [["asked", `change requested, ${target.unit}`], ["reached", target.odds ? "probability to reach" : "value to reach"]];
    const by = choice("Goal by", ways, this.by, value => { this.by = value as "asked" | "reached"; this.amount = 0; this.goals(); });
    const holds = this.able.holds && target.holds.length > 0 && el("fieldset", { class: "choice" }, el("legend", {}, "Keep constant"),
      ...target.holds.map(name => {
        const box = el("input", { type: "checkbox", value: name, checked: this.held.has(name) });
        box.addEventListener("change", () => { box.checked ? this.held.add(name) : this.held.delete(name); this.follows = true; this.move(); });
        return el("label", {}, box, el("span", {}, name));
      }));
    this.goal.replaceChildren(by, this.slide(), ...(holds ? [holds] : []));
    if (this.slides) this.original();
  }

  private slide(): HTMLElement {
    const { target } = this, reached = this.by === "reached";
    const least = reached ? (target.odds ? 0.01 : target.start - target.span) : -target.span;
    const most = reached ? (target.odds ? 0.99 : target.start + target.span) : target.span;
    const start = reached ? (target.odds ? 1 / (1 + Math.exp(-target.start)) : target.start) : 0;
    this.amount = Math.max(least, Math.min(most, this.amount || start));
    const said = (value: number): string => !reached ? `${signed(value, 1)} ${target.unit}`
      : target.odds ? `${(100 * value).toFixed(0)} %` : short(value);
    const made = slider(reached ? "Goal" : "Change requested", { min: least, max: most, step: reached && target.odds ? 0.01 : "any", value: this.amount },
      said, value => { this.amount = value; this.follows = false; this.move(); });
    made.input.addEventListener("change", () => { this.follows = true; this.move(); });
    return made.box;
  }

  /** The change requested, in units of the target. */
  private get asked(): number {
    if (this.by === "asked") return this.amount;
    return (this.target.odds ? Math.log(this.amount / (1 - this.amount)) : this.amount) - this.target.start;
  }

  /** A score as text: a probability where there is one. */
  private level(score: number): string { return this.target.odds ? chance(score) : `${score.toFixed(2)} ${this.target.unit}`; }

  private get levelName(): string { return this.target.odds ? `probability of ${this.target.name}` : this.target.name; }

  private original(): void {
    this.read.replaceChildren(...pairs([[this.levelName, `${this.level(this.target.start)} (original)`]]));
    this.paint();
  }

  /** Compute one frame. The first needs the inversion of the image, which takes longer and can be cancelled. */
  private async move(): Promise<void> {
    if (!this.slides) return;
    if (this.moving) { this.again = true; return; }
    this.moving = true;
    try {
      do {
        this.again = false;
        const target = this.target;
        if (!this.found.has(target.text) && (this.asking || !await this.find())) return;
        const asked = this.asked, follow = this.follows, began = performance.now();
        const moved = await postJson<Moved>("/live/move", { ...this.words(), amount: asked, follow, slice: this.view.slice });
        if (target !== this.target || !this.slides) return;
        this.now = { shape: moved.shape, aspect: moved.aspect, data: floats(moved.frame) };
        this.reading(asked, moved);
        if (!this.asking) this.say(`Computed in ${((performance.now() - began) / 1000).toFixed(2)} s, along ${follow ? "the latent path" : "the global direction"}.`);
        this.paint();
      } while (this.again);
    } catch (error) {
      this.found.delete(this.target.text);
      this.say(lineOf(error));
    } finally {
      this.moving = false;
    }
  }

  private reading(asked: number, moved: Moved): void {
    const { target } = this;
    this.read.replaceChildren(...pairs([
      [this.levelName, `${this.level(target.start)} → ${this.level(moved.score)}`],
      [`change requested, ${target.unit}`, signed(asked)], [`change achieved, ${target.unit}`, signed(moved.score - target.start)],
      ["latent distance", `${moved.length.toFixed(2)} SD${moved.spent ? ", the maximum" : ""}`], ...heldPairs(moved.held)]));
  }

  private put(values: Values & { aspect?: number }): void {
    const [, height, width] = values.shape;
    draw(fit(this.stage, height, width, values.aspect ?? this.view.aspect), greyPixels(values, this.view.window));
    this.tag.textContent = this.now ? "synthetic, not for diagnosis" : "original";
    this.tag.classList.toggle("original", !this.now);
    this.stage.setAttribute("aria-label", this.now ? `synthetic image, ${signed(this.asked, 1)} ${this.target.unit} requested` : "the original image");
  }

  private words(): Record<string, unknown> {
    return { session: this.page.session, case: this.page.id, target: this.target.text, hold: this.able.holds ? [...this.held] : [] };
  }

  private async find(): Promise<boolean> {
    const target = this.target.text;
    const done = await this.run({ ...this.words(), method: "find" });
    if (done?.state !== "done") return false;
    this.found.add(target);
    return target === this.target.text;
  }

  private async explain(): Promise<void> {
    if (this.asking) return;
    const method = this.method.value, target = this.target.text, { latent } = this.able;
    const done = await this.run({ ...this.words(), method, by: this.by, amount: this.amount });
    if (done?.state !== "done") return;
    if (done.kind === "strip" && latent) this.found.add(target);
    this.say(`Computed in ${done.seconds.toFixed(1)} s.`);
    this.show(done);
  }

  /** Run a job to its end and show its progress; null where it could not start. */
  private async run(words: Record<string, unknown>): Promise<Progress | null> {
    this.asking = true;
    this.busy(true);
    try {
      const { job } = await postJson<{ job: string }>("/live/ask", words);
      this.job = this.last = job;
      for (;;) {
        const told = await getJson<Progress>(`/live/job/${job}`);
        if (told.state === "failed") this.say(told.error);
        if (told.state === "cancelled") this.say("Cancelled.");
        if (told.state !== "waiting" && told.state !== "running") return told;
        this.progress(told);
        await pause(150);
      }
    } catch (error) {
      this.say(lineOf(error));
      return null;
    } finally {
      this.job = "";
      this.asking = false;
      this.busy(false);
    }
  }
  private last = "";

  private progress(told: Progress): void {
    const counted = told.of ? `: ${told.count} of ${told.of}` : told.count ? `: ${told.count}` : "";
    this.say(`${told.words || "computing"}${counted} …`);
    if (told.of) { this.bar.max = told.of; this.bar.value = told.count ?? 0; } else this.bar.removeAttribute("value");
  }

  private busy(now: boolean): void {
    this.bar.hidden = this.cancel.hidden = !now;
    this.ask.disabled = now;
    if (now) this.bar.removeAttribute("value");
    else if (document.activeElement === document.body) this.ask.focus();
  }

  private show(done: Progress): void {
    this.view.redraw.length = this.mark;
    const job = this.last, kept = el("p", { class: "dim", role: "status" });
    const keep = el("button", { type: "button" }, "Keep in the run");
    keep.addEventListener("click", async () => {
      keep.disabled = true;
      try {
        await postJson("/live/keep", { job });
        kept.textContent = "Stored in the run: the case page shows it from now on, the report when it is written again.";
      } catch (error) {
        keep.disabled = false;
        kept.textContent = lineOf(error);
      }
    });
    const held = done.held?.length ? el("dl", { class: "read" }, ...pairs(heldPairs(done.held))) : "";
    const part = done.kind === "strip" ? stripSection(done.about as StripAbout, this.view, this.page.image) : mapSection(done.about as MapAbout, this.view);
    this.answer.replaceChildren(part, held, el("div", { class: "row-of" }, keep, kept));
  }

  /** Cancel the job when the page is left. */
  private leave(): void {
    if (!this.job) return;
    fetch("/live/cancel", {
      method: "POST", keepalive: true, body: JSON.stringify({ job: this.job }),
      headers: { "content-type": "application/json", "x-contrafact-token": document.body.dataset.token ?? "" },
    }).catch(() => undefined);
  }
}

function pairs(list: [string, string][]): HTMLElement[] {
  return list.flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, value)]);
}

function heldPairs(held: Held[]): [string, string][] {
  return held.map(one => [`kept constant: ${one.name}`, `${signed(one.from)} to ${signed(one.to)}`]);
}

function floats(text: string): Float32Array {
  const bytes = Uint8Array.from(atob(text), letter => letter.charCodeAt(0));
  return new Float32Array(bytes.buffer);
}

/** A heatmap over the image, with its legend and checks. */
function mapSection(map: MapAbout, view: View): HTMLElement {
  const canvas = el("canvas", { role: "img", width: 512, height: 512, "aria-label": `the image with the map ${map.label} for ${map.target_name} over it` });
  let opacity = 0.85;
  const paint = painter(async () => {
    const image = await getValues(map.row, "image", view.slice), found = await getValues(map.row, "values", view.slice);
    const [, height, width] = image.shape, context = fit(canvas, height, width, view.aspect);
    draw(context, greyPixels(image, view.window));
    draw(context, signedPixels(turned(found.data, map.sign), found.shape[2], found.shape[1], map.scale, opacity));
  });
  view.redraw.push(paint);
  paint();
  return el("section", { class: "card", "aria-labelledby": `map-${map.row}` },
    el("h2", { id: `map-${map.row}` }, `Where: ${map.label} for ${map.target_name}`),
    el("div", { class: "columns" },
      el("div", {}, el("div", { class: "stage" }, canvas), el("div", { class: "legend" },
        ...legendOf(map, map.scale, faint(map)))),
      el("div", { class: "controls" }, slider("Opacity", { min: 0, max: 100, step: 1, value: 85 }, v => `${v} %`, v => { opacity = v / 100; paint(); }).box),
      el("div", { class: "beside" }, trustCard(map.trust))));
}
