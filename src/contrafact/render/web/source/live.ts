// Live explanations: change the image with a slider, or compute a new explanation. Workers of the server compute.

import { type Mode, type Wish } from "./box";
import { choice, painter, slider } from "./controls";
import { mapSection } from "./live_map";
import { nearestOfTarget } from "./nearest";
import { type ImageAbout, type MapAbout, type Nearest, type StripAbout, type View } from "./types";
import { el, getJson, postJson, short, signed } from "./page";
import { draw, fit, getValues, greyPixels, type Values } from "./pixels";
import { stripSection } from "./strip";

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

interface Page { id: string; image: ImageAbout; session: string; nearest: Nearest[]; shown: string }

const pause = (milliseconds: number) => new Promise(done => setTimeout(done, milliseconds));
const chance = (score: number): string => score > 5.3 ? ">99 %" : score < -5.3 ? "<1 %" : `${(100 / (1 + Math.exp(-score))).toFixed(0)} %`;

/** The live panel of a case page; it says why where live explanations are not available. `shown`: the target of what the page shows. */
export function liveSection(id: string, image: ImageAbout, view: View, nearest: Nearest[], shown: string): HTMLElement {
  const status = el("p", { class: "dim", role: "status", id: "live-status" }, "loading the model …");
  const section = el("section", { class: "card live", "aria-labelledby": "live" },
    el("h2", { id: "live" }, "Live explanation"), status);
  const none = (words: string, why: string): void => {
    status.textContent = words;
    if (view.box) { view.box.why = why; view.box.tell(); }
  };
  enter(id).then(told => {
    if (told.state === "none") none(`Not available: ${told.reason}`, String(told.reason));
    else new Panel(section, status, { id, image, session: told.session, nearest, shown }, told as Offer, view);
  }).catch(error => none(lineOf(error), lineOf(error)));
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
  private chosen = false; // the reader has set a goal for this target
  private mode: Mode | "" = ""; // what the box means, if anything
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
  private readonly where = el("div", {});
  private readonly stage = el("canvas", { role: "img", width: 320, height: 320, "aria-label": "the changed image" });
  private readonly tag = el("div", { class: "tag" });
  private readonly view_ = el("div", {}, el("div", { class: "stage" }, this.stage, this.tag));
  private readonly read = el("dl", { class: "read" });
  private readonly bar = el("progress", { "aria-label": "progress", hidden: true });
  private readonly ask = el("button", { type: "button" }, "Explain");
  private readonly cancel = el("button", { type: "button", hidden: true }, "Cancel");
  private readonly answer = el("div", {});
  private readonly about = el("p", { class: "dim small" });
  private readonly paint: () => void;
  private readonly mark: number; // painters of the page itself; those of a result follow

  constructor(
    section: HTMLElement, private readonly status: HTMLElement, private readonly page: Page,
    private readonly offer: Offer, private readonly view: View,
  ) {
    this.target = offer.targets.find(t => t.text === page.shown) ?? offer.targets[0];
    this.paint = painter(async () => this.put(this.now ?? await getValues(page.image.row, "image", view.slice)));
    view.redraw.push(() => this.slides && this.paint(), () => this.region());
    this.mark = view.redraw.length;
    const target = el("select", { id: "live-target" }, ...offer.targets.map(t => el("option", { value: t.text }, t.name)));
    target.value = this.target.text;
    target.addEventListener("change", () => {
      this.aim(offer.targets.find(t => t.text === target.value)!);
    });
    this.method.addEventListener("change", () => this.goals());
    this.ask.addEventListener("click", () => this.explain());
    this.cancel.addEventListener("click", () => { if (this.job) postJson("/live/cancel", { job: this.job }).catch(e => this.say(lineOf(e))); });
    addEventListener("pagehide", () => this.leave());
    section.append(
      el("div", { class: "columns" },
        this.view_,
        el("div", { class: "controls" },
          el("label", { class: "field" }, "Target", target), el("label", { class: "field" }, "Method", this.method), this.goal, this.where,
          el("div", { class: "row-of" }, this.ask, this.cancel), this.bar),
        el("div", { class: "beside" }, this.read,
          this.about,
          offer.why_not !== "" && el("p", { class: "doubt" }, `No counterfactuals: ${offer.why_not}`))),
      this.answer);
    this.methods();
    this.say("Ready.");
    if (view.box) {
      const targets = offer.targets.filter(one => one.strips.length);
      if (targets.length) view.box.ask = (mode, wish) => { void this.within(mode, wish, targets, target); };
      else view.box.why = offer.why_not || "the bundle has no counterfactuals of this model.";
      view.box.tell();
    }
  }

  /** Change the target; what was chosen for another one is forgotten. */
  private aim(target: Target): void {
    this.target = target;
    this.amount = 0;
    this.chosen = false;
    this.held.clear();
    this.methods();
  }

  /** Answer a question about the box: a counterfactual to the goal of the reader, or else across the decision. */
  private async within(mode: Mode, wish: Wish, targets: Target[], shown: HTMLSelectElement): Promise<void> {
    this.status.scrollIntoView({ block: "center" });
    if (this.asking) { this.say("One question at a time: wait, or cancel the one that is running."); return; }
    const wanted = targets.find(one => one.text === wish.target) ?? (this.target.strips.length ? this.target : targets[0]);
    if (wanted !== this.target) { shown.value = wanted.text; this.aim(wanted); }
    if (!this.walks) this.method.value = wanted.strips[0];
    this.mode = mode;
    if (!this.chosen) [this.by, this.amount] = goalOf(wanted, wish.goal);
    this.goals();
    await this.explain();
  }

  /** What the box means for the next question, where there is one. */
  private region(): void {
    const there = this.walks && Boolean(this.view.box?.at);
    if (!this.view.box?.at) this.mode = "";
    if (there === Boolean(this.where.firstChild)) {
      this.where.querySelectorAll("input").forEach(one => { one.checked = one.value === this.mode; });
      return;
    }
    this.where.replaceChildren(...(there ? [choice("Region", [["", "everywhere"], ["only", "only in the box"], ["keep", "not in the box"]], this.mode,
      value => { this.mode = value as Mode | ""; this.follows = true; this.move(); })] : []));
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
    this.about.textContent = `Model ${this.offer.model} of bundle ${this.offer.bundle}. `
      + (this.slides ? "While you drag the slider, the image changes along the global direction; when you release it, the latent path follows the model. "
        + "The prediction is computed for every image shown. " : "")
      + `Explain computes ${this.walks ? "all frames" : "the map"} and the reliability checks. Nothing is stored unless you keep it.`;
    this.read.replaceChildren();
    this.region();
    if (!this.walks) { this.goal.replaceChildren(); return; }
    const ways: [string, string][] = [["asked", `change requested, ${target.unit}`], ["reached", target.odds ? "probability to reach" : "value to reach"]];
    const by = choice("Goal by", ways, this.by, value => { this.by = value as "asked" | "reached"; this.amount = 0; this.chosen = false; this.goals(); });
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
      said, value => { this.amount = value; this.chosen = true; this.follows = false; this.move(); });
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
    return { session: this.page.session, case: this.page.id, target: this.target.text, hold: this.able.holds ? [...this.held] : [],
      ...(this.walks && this.mode && this.view.box?.at && { box: { ...this.view.box.at, mode: this.mode } }) };
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
    const answer = done.about as StripAbout;
    this.say(`Computed in ${done.seconds.toFixed(1)} s.${done.kind === "strip" && answer.box ? ` ${answer.heading}.` : ""}`);
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
    const strip = done.kind === "strip" && done.about as StripAbout;
    const part = strip ? stripSection(strip, this.view, this.page.image) : mapSection(done.about as MapAbout, this.view);
    this.answer.replaceChildren(part, strip ? nearestOfTarget(this.page.nearest, strip.target, this.view) : "", held, el("div", { class: "row-of" }, keep, kept));
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

/** The goal of a question about the box: that of the result beside it, or else the other side of the decision. */
function goalOf(target: Target, goal?: number | null): ["asked" | "reached", number] {
  const given = typeof goal === "number";
  if (!target.odds) return given ? ["reached", goal] : ["asked", target.span / 2];
  const wanted = given && (goal > 0) !== (target.start > 0) ? 1 / (1 + Math.exp(-goal)) : target.start < 0 ? 0.9 : 0.1;
  return ["reached", Math.max(0.01, Math.min(0.99, wanted))];
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
