// The study editor: the server checks the texts and returns problems and the resulting file.

import { byId, el, getJson, plural, postJson, tell } from "./page";
import { runPanel } from "./running";

interface Setting { name: string; kind: string; default: string; help: string }
interface Member { name: string; aliases: string[]; about: string; more: string; settings: Setting[] }
interface Choices {
  study: Setting[]; models: Setting[]; methods: Member[]; metrics: Member[];
  targets: { name: string; about: string }[]; bundles: string[];
}
interface Part { label: string; kind: string; fields: Record<string, string> }
type PartName = "models" | "second_model" | "methods" | "metrics";
type Draft = { study: Record<string, string> } & Record<PartName, Part[]>;
interface Problem { place: string; text: string }
interface Answer {
  text: string; problems: Problem[]; missing: Problem[]; facts: Record<string, string[]>;
  known: Record<string, string[]>; saved: boolean;
}
interface Opened { path: string; draft: Draft; note: string; exists: boolean }

// Groups of settings; settings that are not named here appear under "More".
const IMAGES = ["cohort", "images", "split", "subgroups", "masks", "background", "cases", "region", "keep", "reference"];
const LIMITS = ["limit_seconds", "devices", "workers_per_device", "seed"];
const STUDY = ["title", "out"];

let choices: Choices, draft: Draft, turn = 0, timer = 0, dirty: () => void = () => {};
let last: Answer | null = null;

export async function formPage(): Promise<void> {
  choices = await getJson<Choices>("/api/choices");
  const path = byId<HTMLInputElement>("path");
  const save = byId<HTMLButtonElement>("save");
  const runs = runPanel(() => path.value, () => Boolean(last?.saved));
  dirty = () => {
    save.disabled = true;
    runs.allow();
    byId("question").hidden = true;
    clearTimeout(timer);
    timer = window.setTimeout(() => examine(path.value, runs.allow), 250);
  };
  const open = async (address: string): Promise<void> => {
    const opened = await getJson<Opened>(address);
    draft = opened.draft;
    path.value = opened.path;
    byId("notice").hidden = true;
    if (opened.note) tell(opened.note);
    drawAll();
    dirty();
  };
  await open("/api/draft");
  byId("waiting").remove();
  path.addEventListener("input", () => dirty());
  byId("open").addEventListener("click", () => open(`/api/draft?path=${encodeURIComponent(path.value)}`).catch(tell));
  save.addEventListener("click", () => write(path.value, false).catch(tell));
}

async function examine(path: string, after: () => void): Promise<void> {
  const mine = ++turn;
  last = null;
  try {
    const answer = await postJson<Answer>("/api/examine", { path, draft });
    if (mine !== turn) return; // the draft changed meanwhile
    last = answer;
    byId("notice").hidden = !byId("notice").textContent?.includes("is not a valid study:");
    show(answer);
  } catch (error) {
    if (mine !== turn) return;
    byId("verdict").textContent = "";
    tell(error);
  }
  after();
}

function show(answer: Answer): void {
  byId("toml").textContent = answer.text;
  byId<HTMLButtonElement>("save").disabled = answer.problems.length > 0 || answer.saved;
  const elsewhere: Node[] = [];
  for (const place of document.querySelectorAll<HTMLElement>("[data-for]")) {
    const name = place.dataset.for!;
    const wrong = answer.problems.filter(one => one.place === name), absent = answer.missing.filter(one => one.place === name);
    place.replaceChildren(
      ...wrong.map(one => el("span", { class: "refused" }, one.text)), ...absent.map(one => el("span", { class: "absent" }, one.text)),
      ...(answer.facts[name] ?? []).map(text => el("span", { class: "fact" }, text)));
    const input = document.getElementById(name);
    if (input) input.setAttribute("aria-invalid", String(wrong.length + absent.length > 0));
  }
  for (const one of [...answer.problems, ...answer.missing]) {
    const there = document.getElementById(one.place) ?? document.querySelector<HTMLElement>(`[data-for="${CSS.escape(one.place)}"]`);
    elsewhere.push(there ? toField(one.place, there) : document.createTextNode(one.text));
  }
  byId("wrong").replaceChildren(...elsewhere.map(node => el("li", {}, node)));
  for (const [place, words] of Object.entries(answer.known)) suggest(place, words);
  const count = answer.problems.length;
  byId("verdict").textContent = count ? `${plural(count, "problem")} to fix before this can be saved.`
    : answer.missing.length ? `Valid study, but ${plural(answer.missing.length, "input")} cannot be found.`
    : answer.saved ? "Saved. Nothing is missing." : "Valid study. Nothing is missing.";
}

/** A link to the field that has a message. */
function toField(place: string, there: HTMLElement): HTMLElement {
  const [part, number, ...rest] = place.split("."), parts = draft[part as PartName];
  const label = parts?.[Number(number)] && (parts[Number(number)].label || part.replace("_", " ").replace(/s$/, ""));
  const link = el("a", { href: `#${place}` }, label ? [label, words(rest.join("."))].filter(Boolean).join(": ") : words(number));
  link.addEventListener("click", event => {
    event.preventDefault();
    there.scrollIntoView({ block: "center" });
    there.focus();
  });
  return link;
}

/** Offer suggestions under a field of one line. */
function suggest(place: string, words: string[]): void {
  const input = document.getElementById(place);
  if (!(input instanceof HTMLInputElement)) return;
  const id = `known-${place}`;
  document.getElementById(id)?.remove();
  input.after(el("datalist", { id }, ...words.map(value => el("option", { value }))));
  input.setAttribute("list", id);
}

async function write(path: string, replace: boolean): Promise<void> {
  const done = await postJson<{ saved: string; question: string }>("/api/save", { path, draft, replace });
  const question = byId("question");
  question.hidden = !done.question;
  if (!done.question) { dirty(); return; }
  const over = el("button", { type: "button" }, "Overwrite it"), keep = el("button", { type: "button" }, "Keep it");
  over.addEventListener("click", () => write(path, true).catch(tell));
  keep.addEventListener("click", () => { question.hidden = true; byId("save").focus(); });
  question.replaceChildren(el("p", {}, done.question), el("div", { class: "with" }, over, keep));
  over.focus();
}

function drawAll(): void {
  const named = new Set([...IMAGES, ...LIMITS, ...STUDY]), known = choices.study.map(one => one.name);
  const more = [...known, ...Object.keys(draft.study)].filter((name, k, all) => !named.has(name) && all.indexOf(name) === k);
  byId("parts").replaceChildren(
    card("The study", fields(STUDY)), card("Images", fields(IMAGES)),
    models(), card("Targets", studyField("targets"), targetsHelp()), members("methods", "Methods"), members("metrics", "Metrics"),
    card("Limits and workers", fields(LIMITS)),
    ...(more.filter(name => name !== "targets").length
      ? [card("More", fields(more.filter(name => name !== "targets")))] : []));
}

function card(title: string, ...children: (Node | string)[]): HTMLElement {
  return el("section", { class: "card" }, el("h2", {}, title), ...children);
}

function fields(names: string[]): HTMLElement {
  return el("div", { class: "fields" }, ...names.map(studyField));
}

function studyField(name: string): HTMLElement {
  const setting = choices.study.find(one => one.name === name);
  return field(setting, name, `study.${name}`, draft.study, () => { delete draft.study[name]; drawAll(); dirty(); });
}

/** One setting with its help and messages; an unknown setting can be removed. */
function field(
  setting: Setting | undefined, name: string, place: string, texts: Record<string, string>, remove: () => void,
): HTMLElement {
  const kind = setting?.kind ?? "unknown setting", about = `${place}-about`, said = `${place}-said`;
  const asked = { id: place, "aria-describedby": `${about} ${said}`, spellcheck: "false", autocomplete: "off" };
  let input: HTMLInputElement | HTMLTextAreaElement | HTMLSelectElement;
  if (kind === "texts") {
    input = el("textarea", { ...asked, rows: Math.max(2, (texts[name] ?? "").split("\n").length), placeholder: "one per line" });
  } else if (kind === "yes or no") {
    const plain = setting!.default === "true" ? "yes" : "no";
    input = el("select", asked, el("option", { value: "" }, `default (${plain})`),
      el("option", { value: "true" }, "yes"), el("option", { value: "false" }, "no"));
  } else {
    const mode = kind === "whole number" ? "numeric" : kind === "number" ? "decimal" : undefined;
    input = el("input", { ...asked, type: "text", inputmode: mode, placeholder: setting?.default });
  }
  input.value = texts[name] ?? "";
  input.addEventListener("input", () => { texts[name] = input.value; dirty(); });
  const usual = setting?.default ? `default ${setting.default}` : "", kinds = kind === "texts" ? "texts, one per line" : kind;
  const removes = el("button", { type: "button", "aria-label": `remove ${name}` }, "Remove");
  removes.addEventListener("click", remove);
  return el("div", { class: "field" },
    el("label", { for: place }, words(name)),
    setting ? input : el("div", { class: "with" }, input, removes),
    el("p", { class: "about", id: about }, ...coded([setting?.help, [kinds, usual].filter(Boolean).join(", ")].filter(Boolean).join(" · "))),
    el("div", { class: "said", id: said, "data-for": place, "aria-live": "polite" }));
}

/** Help text from a docstring: text between backticks becomes code. */
function coded(text: string): (Node | string)[] {
  return text.split("`").map((part, k) => k % 2 ? el("code", {}, part) : part);
}

function words(name: string): string {
  return name.replaceAll("_", " ").replaceAll(".", ": ");
}

function fieldsOf(settings: Setting[], part: Part, place: string, again: () => void): HTMLElement {
  const names = [...settings.map(one => one.name), ...Object.keys(part.fields)];
  return el("div", { class: "fields" }, ...names.filter((name, k) => names.indexOf(name) === k).map(name =>
    field(settings.find(one => one.name === name), name, `${place}.${name}`, part.fields,
      () => { delete part.fields[name]; again(); dirty(); })));
}

/** A box for one model, method or metric. */
function partBox(part: Part, place: string, settings: Setting[], title: string, about: Node[], again: () => void,
  remove: () => void, labelled: string): HTMLElement {
  const label = el("input", { type: "text", id: `${place}-label`, autocomplete: "off", spellcheck: "false" });
  label.value = part.label;
  label.addEventListener("input", () => {
    if (!part.kind && place.startsWith("me")) part.kind = title; // the label served as the name
    part.label = label.value;
    dirty();
  });
  const removes = el("button", { type: "button", "aria-label": `remove ${part.label || title}` }, "Remove");
  removes.addEventListener("click", remove);
  return el("fieldset", { class: "part" }, el("legend", {}, title),
    ...about,
    el("div", { class: "said", "data-for": place, "aria-live": "polite" }),
    labelled ? el("div", { class: "field" }, el("label", { for: label.id }, labelled), label) : "",
    fieldsOf(settings, part, place, again), removes);
}

function members(which: "methods" | "metrics", title: string): HTMLElement {
  const section = card(title), one = which.slice(0, -1);
  const redraw = (): void => {
    const boxes = draft[which].map((part, k) => {
      const name = part.kind || part.label;
      const member = choices[which].find(m => m.name === name || m.aliases.includes(name));
      const about = member ? [el("p", { class: "about" }, member.about),
        el("details", {}, el("summary", {}, "What it does, its cost and its source"), el("pre", {}, member.more))] : [];
      return partBox(part, `${which}.${k}`, member?.settings ?? [], name || `no ${one}`, about, redraw,
        () => { draft[which].splice(k, 1); redraw(); dirty(); adding.focus(); }, "label");
    });
    section.replaceChildren(el("h2", {}, title), ...boxes, el("div", { class: "with" }, el("label", { for: adding.id }, `Add a ${one}`), adding, add));
  };
  const adding = el("select", { id: `add-${which}` }, ...choices[which].map(m =>
    el("option", { value: m.name }, `${m.name}: ${m.about}`.slice(0, 90))));
  const add = el("button", { type: "button" }, "Add");
  add.addEventListener("click", () => {
    const name = adding.value, taken = new Set(draft[which].map(part => part.label));
    let label = name, number = 2;
    while (taken.has(label)) label = `${name}-${number++}`;
    draft[which].push({ label, kind: label === name ? "" : name, fields: {} });
    redraw();
    dirty();
    document.getElementById(`${which}.${draft[which].length - 1}-label`)?.focus();
  });
  redraw();
  return section;
}

function models(): HTMLElement {
  const section = card("Models");
  const redraw = (): void => {
    const boxes = (["models", "second_model"] as const).flatMap(which => draft[which].map((part, k) =>
      partBox(part, `${which}.${k}`, choices.models, which === "models" ? "Model" : "Second model", [], redraw,
        () => { draft[which].splice(k, 1); redraw(); dirty(); add.focus(); },
        which === "models" && (draft.models.length > 1 || part.label) ? "name" : "")));
    second.hidden = draft.second_model.length > 0;
    section.replaceChildren(el("h2", {}, "Models"), ...boxes, el("div", { class: "with" }, add, second));
    for (let k = 0; k < draft.models.length; k++) suggest(`models.${k}.bundle`, choices.bundles);
  };
  const add = el("button", { type: "button" }, "Add a model"), second = el("button", { type: "button" }, "Add a second model that checks counterfactuals");
  add.addEventListener("click", () => {
    const names = draft.models.length > 0;
    if (names && draft.models[0].label === "") draft.models[0].label = "model-1";
    draft.models.push({ label: names ? `model-${draft.models.length + 1}` : "", kind: "", fields: {} });
    redraw();
    suggest(`models.${draft.models.length - 1}.bundle`, choices.bundles);
    dirty();
    document.getElementById(`models.${draft.models.length - 1}.path`)?.focus();
  });
  second.addEventListener("click", () => {
    draft.second_model.push({ label: "", kind: "", fields: {} });
    redraw();
    dirty();
    document.getElementById("second_model.0.path")?.focus();
  });
  redraw();
  return section;
}

function targetsHelp(): HTMLElement {
  return el("details", {}, el("summary", {}, "Available targets"), el("dl", { class: "asked" },
    ...choices.targets.flatMap(one => [el("dt", {}, el("code", {}, one.name)), el("dd", {}, one.about)])));
}
