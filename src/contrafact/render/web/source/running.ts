// Start, watch and cancel a study.

import { byId, el, getJson, plural, postJson, tell } from "./page";

interface State {
  state: "none" | "running" | "stopping" | "done" | "cancelled" | "failed";
  done?: number; total?: number; text?: string; failures?: string[]; failed?: number; why?: string;
  report?: string; command?: string; seconds_left: number | null;
}

const GOES_ON = ["running", "stopping"];

/** The buttons and the progress bar; `allow` updates whether a run may start. */
export function runPanel(path: () => string, saved: () => boolean): { allow: () => void } {
  const run = byId<HTMLButtonElement>("run"), cancel = byId<HTMLButtonElement>("cancel");
  let state: State = { state: "none", seconds_left: null };
  const allow = (): void => { run.disabled = GOES_ON.includes(state.state) || !saved(); };
  const took = (now: State): void => {
    state = now;
    show(now);
    cancel.hidden = !GOES_ON.includes(now.state);
    cancel.disabled = now.state === "stopping";
    allow();
    if (GOES_ON.includes(now.state)) setTimeout(() => watch().catch(tell), 400);
  };
  const watch = async (): Promise<void> => took(await getJson<State>("/api/run"));
  run.addEventListener("click", () => {
    run.disabled = true;
    postJson<State>("/api/run", { path: path() }).then(took).catch(error => { allow(); tell(error); });
  });
  cancel.addEventListener("click", () => postJson<State>("/api/cancel", {}).then(now => { state = now; cancel.disabled = true; }).catch(tell));
  watch().catch(tell);
  return { allow };
}

function show(now: State): void {
  byId("progress").hidden = now.state === "none";
  if (now.state === "none") return;
  const bar = byId<HTMLProgressElement>("bar"), done = now.done ?? 0, total = now.total ?? 0;
  bar.max = Math.max(total, 1);
  bar.value = done;
  const failed = now.failed ? `, ${now.failed} failed` : "", rows = `${done} of ${plural(total, "row")}${failed}`;
  byId("state").textContent = {
    running: total ? `${rows}${now.seconds_left === null ? "" : `, about ${clock(now.seconds_left)} left`}: ${now.text}` : "starting …",
    stopping: "stopping …", none: "",
    done: `Done: ${rows}.`, cancelled: `Cancelled at ${rows}. Finished rows are kept: Run continues from there.`,
    failed: `Stopped: ${now.why}`,
  }[now.state];
  byId("failures").replaceChildren(...(now.failures ?? []).map(text => el("li", {}, text)));
  const after = byId("after");
  after.hidden = now.state !== "done";
  after.replaceChildren("Open it with ", el("code", {}, now.command ?? ""), "; the report: ", el("code", {}, now.report ?? ""));
}

function clock(seconds: number): string {
  const whole = Math.round(seconds);
  return whole >= 3600 ? `${Math.floor(whole / 3600)} h ${Math.floor(whole % 3600 / 60)} min`
    : whole >= 60 ? `${Math.floor(whole / 60)} min ${whole % 60} s` : `${whole} s`;
}
