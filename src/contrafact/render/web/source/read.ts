// The reader study: the server stores every answer on disk before the next trial is shown.

import { choice } from "./controls";
import { looking, type Looking, type Picture } from "./looking";
import { byId, el, getJson, postJson, tell } from "./page";

interface Trial {
  done: number; of: number; finished: boolean; waiting?: string; task: string; question: string; choices: string[];
  pictures: number; window: [number, number];
  captions?: string[]; slices?: number; session?: number; sessions?: number; said?: string; // of a decision
}
const WORDS: Record<string, string> = { real: "Real", synthetic: "Synthetic", left: "Image 1", right: "Image 2", yes: "Yes", no: "No" };
const LEVELS: [string, string][] = [["1", "1 unsure"], ["2", "2"], ["3", "3"], ["4", "4"], ["5", "5 certain"]];
const KEYS: Record<string, string> = { decide: "Keys Y and N decide, 1 to 5 tell how sure you are" };

export function readPage(): void {
  let reader = "", trial: Trial | null = null, since = 0, spent = 0, busy = false, view: Looking | null = null;
  let decided = "", confidence = 0;
  const part = (name: string): void => {
    for (const id of ["enter", "trial", "waiting", "paused", "finished"]) byId(id).hidden = id !== name;
  };

  const next = async (): Promise<void> => {
    trial = await getJson<Trial>(`/api/trial?reader=${encodeURIComponent(reader)}`);
    if (trial.finished) { part("finished"); byId("thanks").focus(); return; }
    if (trial.waiting) { wait(trial.waiting); return; }
    const shown = trial;
    const pictures: Picture[] = Array.from({ length: shown.pictures }, (_, k) => ({
      source: `/picture.png?reader=${encodeURIComponent(reader)}&position=${shown.done}&k=${k}`,
      name: shown.captions?.[k] ?? (shown.pictures > 1 ? `image ${k + 1}` : "image"),
      caption: shown.pictures > 1 ? shown.captions?.[k] ?? `Image ${k + 1}` : "",
    }));
    view = looking(pictures, { window: shown.window, slices: shown.slices ?? 1 });
    await view.ready;
    const session = (shown.sessions ?? 1) > 1 ? `, session ${shown.session} of ${shown.sessions}` : "";
    byId("progress").textContent = `${shown.done} of ${shown.of} answered${session}`;
    byId<HTMLProgressElement>("bar").value = shown.done / shown.of;
    byId("question").textContent = shown.question;
    byId("said").textContent = shown.said ?? "";
    byId("said").hidden = !shown.said;
    byId("keys-said").textContent = KEYS[shown.task] ?? "Keys 1 and 2 answer";
    byId("pictures").replaceChildren(...view.figures);
    byId("looking").replaceChildren(...view.controls);
    offer(shown);
    part("trial");
    byId("question").focus();
    spent = 0;
    since = performance.now();
  };

  const wait = (begins: string): void => {
    byId("begins").textContent = new Date(begins).toLocaleString([], { dateStyle: "full", timeStyle: "short" });
    part("waiting");
    byId("waiting-title").focus();
  };

  /** The buttons of a trial. A decision is sent once it has a confidence too. */
  const offer = (shown: Trial): void => {
    decided = "";
    confidence = 0;
    const decision = shown.task === "decide";
    byId("choices").replaceChildren(...shown.choices.map((word, k) => {
      const text = decision || shown.pictures > 1 ? WORDS[word] : `${WORDS[word]} (${k + 1})`;
      const button = el("button", { type: "button", "data-choice": word, ...(decision && { "aria-pressed": "false" }) }, text);
      button.addEventListener("click", () => choose(word));
      return button;
    }));
    byId("confidence").replaceChildren(...(decision ? [choice("How sure are you?", LEVELS, "", level => sure(Number(level)))] : []));
  };
  const choose = (word: string): void => {
    if (trial?.task !== "decide") { answer(word); return; }
    decided = word;
    byId("choices").querySelectorAll("button").forEach(b => b.setAttribute("aria-pressed", String(b.dataset.choice === word)));
    if (confidence) answer(word, confidence);
  };
  const sure = (level: number): void => {
    confidence = level;
    byId("confidence").querySelectorAll("input").forEach(input => { input.checked = Number(input.value) === level; });
    if (decided) answer(decided, level);
  };

  const answer = async (word: string, level?: number): Promise<void> => {
    if (busy || !trial || trial.finished) return;
    busy = true;
    const seconds = (spent + performance.now() - since) / 1000;
    byId("notice").hidden = true;
    try {
      await postJson("/api/answer", { reader, position: trial.done, answer: word, seconds, ...(level && { confidence: level }) });
      await next();
    } catch (error) {
      tell(error);
    }
    busy = false;
  };

  byId("name-form").addEventListener("submit", async event => {
    event.preventDefault();
    byId("notice").hidden = true;
    try {
      reader = (await postJson<{ name: string }>("/api/reader", { name: byId<HTMLInputElement>("name").value })).name;
      await next();
    } catch (error) { tell(error); }
  });
  byId("pause").addEventListener("click", () => { spent += performance.now() - since; part("paused"); byId("resume").focus(); });
  byId("resume").addEventListener("click", () => { since = performance.now(); part("trial"); byId("question").focus(); });
  document.addEventListener("keydown", event => {
    const within = event.target instanceof HTMLInputElement ? event.target.type : "";
    if (byId("trial").hidden || within === "text" || !byId<HTMLInputElement>("keys").checked) return;
    if (event.ctrlKey || event.metaKey || event.altKey || !trial) return;
    if (view?.key(event.key, ["range", "radio"].includes(within))) { event.preventDefault(); return; }
    if (event.repeat) return;
    const number = Number(event.key);
    if (trial.task !== "decide") { if (trial.choices[number - 1]) answer(trial.choices[number - 1]); return; }
    if (number >= 1 && number <= LEVELS.length) sure(number);
    const word = trial.choices.find(one => one[0] === event.key.toLowerCase());
    if (word) choose(word);
  });
}
