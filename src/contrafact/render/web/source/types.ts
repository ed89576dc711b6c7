// What the server says of a case and its results, and the state that the parts of a page share.

import { type Box, type BoxAt } from "./box";
import { type Window } from "./pixels";

export interface Trust { failed: string[]; passed: string[]; open: string[] }
export interface Made {
  row: number | string; method: string; label: string; target: string; target_name: string;
  seconds: number | null; passes: number | null; parameters: unknown; layer: string; part: string; trust: Trust;
}
/** scale: the scale shown first; shared, own: the cohort scale and the per-image scale. sign: -1 swaps the colours. */
export interface MapAbout extends Made {
  scale: number; shared: number; own: number; scale_from: [number, number]; scale_words: string; slice: number;
  sign: 1 | -1; orange: string; blue: string; flaw: string;
  unit: string; levels: number[]; // levels: of a volume, the value that the strongest 100, 99, … 1 % reach
}
export interface Curve {
  width: number; height: number; points: [number, number][]; ideal: [number, number][];
  x_ticks: [number, string][]; y_ticks: [number, string][]; goal_y: number | null; half_y: number | null;
}
export interface StripAbout extends Made {
  requested: number[]; scores: number[]; shares: number[] | null; latent_distance: number[]; origin: number;
  reconstruction_error: number; above_tolerance: boolean; outcome: string; goal: number | null; picture: boolean; unit: string; reason: string; engine: string;
  doubtful: boolean; aspect: number; curve: Curve; followup: { name: string; answer: string }[];
  order: number[]; telling: number; sentence: string; verdict: string;
  heading: string; second: string; tone: "good" | "plain" | "warn"; before_after: string; kinds: string[]; levels: string[];
  table: { kind: string; level: string; score: string; requested: string; achieved: string; distance: string }[];
  difference: { scale: number; words: string; last: string };
  box?: (BoxAt & { words: string }) | null; // within which it was requested
}
/** The real cases nearest to an image on the other side of the decision, stored with the result of a row. */
export interface Nearest {
  row: number; heading: string; words: string; target: string;
  cases: { array: string; name: string; answer: string; label: string; place: string[]; window: [number, number]; aspect: number }[];
}
export interface ImageAbout {
  row: number; channels: number; size: number[]; plane: [number, number]; slices: number; shrunk: number; aspect: number;
  window: [number, number]; range: [number, number]; presets: [string, number, number][]; letters: string | null; mm: number | null; factors: Record<string, number>; spacing: string;
}
/** State that the parts of the page share: the window, and the slice of a volume. */
export interface View {
  window: Window; aspect: number; slice?: number; redraw: (() => void)[];
  share?: number; // per cent of a map that are shown as strong
  moved?: (at: number) => void; // called with the frame shown
  box?: Box; // that a reader draws, where one may ask about it
}
