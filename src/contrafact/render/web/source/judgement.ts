// A reader's judgement of a result: plausible or not, and how sure. The server has it on disk before the page says so.

import { el, getJson, postJson } from "./page";

interface Judged { row: number; reader: string; answer: string; confidence: number; at: string }
export interface Judgeable { row: number; name: string }

const ANSWERS = ["plausible", "not plausible", "wrong region"];
const LEVELS: [number, string][] = [[1, "1 unsure"], [2, "2"], [3, "3"], [4, "4"], [5, "5 certain"]];
const KEPT = "contrafact-reader"; // the name, until the tab is closed

/** The card of a case page on which a reader judges its results. */
export function judgementSection(id: string, results: Judgeable[]): HTMLElement {
  let answer = "", busy = false, judged: Judged[] = [], said = "";
  const name = el("input", { type: "text", maxlength: 40, autocomplete: "off", value: sessionStorage.getItem(KEPT) ?? "" });
  const which = el("select", {}, ...results.map(one => el("option", { value: one.row }, one.name)));
  const status = el("p", { role: "status" }), all = el("ul", {}), summary = el("summary", {}), others = el("details", {}, summary, all);
  const button = (text: string, pressed: () => void): HTMLButtonElement => {
    const made = el("button", { type: "button", "aria-pressed": "false" }, text);
    made.addEventListener("click", pressed);
    return made;
  };
  const answers = ANSWERS.map(word => button(word.charAt(0).toUpperCase() + word.slice(1), () => { answer = word; say(""); }));
  const levels = LEVELS.map(([level, text]) => button(text, () => keep(level)));
  const row = (): number => Number(which.value);
  const reader = (): string => name.value.trim().split(/\s+/).join(" ");

  const show = (): void => {
    const mine = judged.find(one => one.row === row() && one.reader === reader());
    const chosen = answer || mine?.answer;
    answers.forEach((one, k) => one.setAttribute("aria-pressed", String(ANSWERS[k] === chosen)));
    levels.forEach((one, k) => {
      one.disabled = !answer;
      one.setAttribute("aria-pressed", String(!answer && LEVELS[k][0] === mine?.confidence));
    });
    status.textContent = said || (answer ? "How sure are you? The judgement is kept when you say it."
      : mine ? `Kept: ${wordsOf(mine)}.` : "No judgement of yours yet.");
    summary.textContent = `All judgements of this case: ${judged.length}`;
    others.hidden = !judged.length;
    all.replaceChildren(...judged.map(one => el("li", {}, el("b", {}, one.reader), `, ${results.find(r => r.row === one.row)?.name}: ${wordsOf(one)}`)));
  };
  const say = (words: string): void => { said = words; show(); };
  const keep = async (confidence: number): Promise<void> => {
    if (busy) return;
    if (!reader()) { say("Enter your name or code first."); name.focus(); return; }
    busy = true;
    try {
      const kept = await postJson<Judged>("/api/judgements", { case: id, row: row(), reader: reader(), answer, confidence });
      judged = [...judged.filter(one => one.row !== kept.row || one.reader !== kept.reader), kept];
      answer = "";
      say("");
    } catch (error) {
      say(`Not kept: ${error instanceof Error ? error.message : error}`);
    }
    busy = false;
  };

  name.addEventListener("input", () => { sessionStorage.setItem(KEPT, reader()); say(""); });
  which.addEventListener("change", () => { answer = ""; say(""); });
  show();
  getJson<{ judgements: Judged[] }>(`/api/judgements/${id}`).then(told => {
    const older = told.judgements.filter(one => !judged.some(newer => newer.row === one.row && newer.reader === one.reader));
    judged = [...older, ...judged]; // one may have been kept meanwhile
    show();
  })
    .catch(error => say(`The judgements could not be read: ${error instanceof Error ? error.message : error}`));
  return el("section", { class: "card judging", "aria-labelledby": "judging" }, el("h2", { id: "judging" }, "Your judgement"),
    el("p", { class: "dim" }, "Is what is shown plausible, and is it where it should be? Judgements lie beside the run and change no result."),
    el("div", { class: "row-of" }, el("label", { class: "pick" }, "Your name or code", name),
      results.length > 1 && el("label", { class: "pick" }, "Result", which)),
    el("div", { class: "choices", role: "group", "aria-label": "judgement" }, ...answers),
    el("div", { class: "choices", role: "group", "aria-label": "how sure are you, from 1 to 5" }, ...levels), status, others);
}

function wordsOf(one: Judged): string {
  const time = new Date(one.at).toLocaleString([], { dateStyle: "medium", timeStyle: "short" });
  return `${one.answer}, confidence ${one.confidence} of 5 (${time})`;
}
