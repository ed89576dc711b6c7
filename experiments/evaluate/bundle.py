"""Measure a bundle on the held-out patients; write its results page and its model card.

    python -m experiments.evaluate.bundle knee DATA/knee_kl_128 --bundle runs/knee/bundle
    python -m experiments.evaluate.bundle brain DATA/brain_tumor_mri_4class_224 --bundle runs/brain/bundle

The bundle of brain slices, withdrawn (docs/results/brain.md), has codes for findings: its counterfactuals are
measured by `findings.py`, half of the images on each side of the model's decision, and a second classifier
(`oracle.py`) evaluates their last frames.
Values have 95 % intervals from 1,000 bootstrap samples of the patients; shares of 0 or 1 have Wilson's, and
single measurements have none.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from skimage.metrics import structural_similarity
from sklearn.metrics import r2_score, roc_auc_score
from torch import Tensor

import contrafact as cf
from contrafact.bundles import load_bundle
from contrafact.core import Image
from contrafact.counterfactual import Refinement, invert
from contrafact.generators import RandomFeatures, kernel_distance_interval
from contrafact.io import read_json, write_json
from contrafact.models.example_networks import ResidualNetwork
from experiments import tables
from experiments.data import Cohort, train_and_val
from experiments.evaluate.findings import Strips, explained, picture, place_rows, shortcut_rows, strip_rows
from experiments.evaluate.scores import both_sides, scores_of
from experiments.train.oracle import load_judge

PAPER = {"f auc": "0.89", "f~ auc label": "0.80", "turing": "58 % (readers)"}
NOTE = (
    "How to read it. The generator is small and young (`kimg` in the recipe): a real-versus-synthetic "
    "classifier tells generated from real images. A frame of a counterfactual is not a generated image: it "
    "is the patient's image plus the change of the generated image, and every score here was measured on "
    "that frame. f~ is a linear function of the latent of E alone."
)
INTERVALS = (
    "Intervals: 95 %, bootstrap over {0}; of a share of 0 or 1 Wilson's, for as many {0} as have such a row."
)
MARK = "<!-- below: written by experiments/evaluate/bundle.py -->"


PAGES = {"knee": "knee_stylegan2"}  # knee.md is of its translator


class Table:
    """Rows of a results page; intervals over patients."""

    def __init__(self, patients: list[str]) -> None:
        self.rows: list[dict[str, str]] = []
        self.patients = patients

    def add(
        self,
        what: str,
        figure: Callable[[np.ndarray], float],
        *,
        wanted: str = "",
        paper: str = "",
        rounds: int = 1000,
        among: np.ndarray | None = None,
    ) -> float:
        """`figure` gets the rows it may use; the interval comes from drawing patients, and is Wilson's for a
        share that is 0 or 1, over the patients that have a row in `among` (None: all)."""
        value, low, high = tables.interval(figure, self.patients, share=True, among=among, rounds=rounds)
        self.put(what, value, (low, high), wanted=wanted, paper=paper)
        return value

    def put(
        self,
        what: str,
        value: float,
        between: tuple[float, float] | None,
        *,
        wanted: str = "",
        paper: str = "",
    ) -> None:
        """A row; `between` is its interval, None for what was measured once."""
        row = {
            "what": what,
            "value": f"{value:.3f}",
            "interval": f"{between[0]:.3f} to {between[1]:.3f}" if between else "",
            "wanted": wanted,
            "paper": paper,
        }
        self.rows.append(row)
        print(row, flush=True)

    def markdown(self, *columns: str) -> str:
        """The rows with these columns after the interval."""
        rows = [[row[key] for key in ("what", "value", "interval", *columns)] for row in self.rows]
        return tables.table(["measured", "figure", "95 % interval", *columns], rows)


@torch.no_grad()
def synthetic(bundle: Any, count: int, seed: int) -> Tensor:
    """uint8 images, as real ones are stored."""
    rng = torch.Generator().manual_seed(seed)
    parts = [bundle.generator.decode(bundle.generator.sample(100, rng)) for _ in range(count // 100)]
    return ((torch.cat(parts).clamp(-1, 1) + 1) * 127.5).round().byte()


def classifier_and_surrogate(bundle: Any, held: Cohort, scores: np.ndarray) -> Table:
    table = Table(held.patients)
    labels = held.labels
    table.add(
        "f: AUC against the label",
        lambda i: roc_auc_score(labels[i], scores[i]),
        wanted="≥ 0.89",
        paper=PAPER["f auc"],
    )
    direction = bundle.directions[0]
    with torch.no_grad():
        w = torch.cat([bundle.encoder(bundle.to_canvas(x.float())) for x in held.images.split(128)])
    guess = direction.surrogate(w).numpy()
    decisions = scores > 0
    table.add(
        "f~: AUC against the decision of f, real images through E",
        lambda i: roc_auc_score(decisions[i], guess[i]),
        wanted="≥ 0.92",
    )
    table.add(
        "f~: AUC against the label, real images through E",
        lambda i: roc_auc_score(labels[i], guess[i]),
        wanted="≥ 0.82",
        paper=PAPER["f~ auc label"],
    )
    low, high = direction.fit["r2_interval"]
    table.put("f~: R² of logits on held-out latents", direction.fit["r2"], (low, high))
    table.add("f~: R² of logits on real images through E", lambda i: r2_score(scores[i], guess[i]))
    table.add(
        "f~: squared correlation with f's logits on real images",
        lambda i: float(np.corrcoef(scores[i], guess[i])[0, 1] ** 2),
    )
    return table


def reconstruction(table: Table, bundle: Any, images: Tensor) -> None:
    """PSNR, SSIM and reconstruction error of E alone and after refinement; blending is exact."""
    canvas = bundle.to_canvas(images.float())
    scorer = bundle.scorer(bundle.predictor, bundle.predictor.target("class:1"))
    for name, steps in (("E alone", 0), ("after refinement", Refinement().steps)):
        drawn, drift = [], []
        with bundle.predictor.frozen():
            for part in canvas.split(32):
                w = invert(
                    bundle.generator,
                    bundle.encoder,
                    part,
                    statistics=bundle.statistics,
                    refinement=Refinement(steps=steps),
                    score=scorer,
                )
                with torch.no_grad():
                    drawn.append(bundle.generator.decode(w))
                    drift.append((scorer(drawn[-1]) - scorer(part)).abs())
        made, moved = torch.cat(drawn), torch.cat(drift).numpy()
        mse = (made - canvas).square().mean(dim=(1, 2, 3)).numpy()
        psnr = 10 * np.log10(4 / mse)
        ssim = np.array(
            [
                structural_similarity(a[0].numpy(), b[0].numpy(), data_range=2.0)
                for a, b in zip(made, canvas, strict=True)
            ]
        )
        table.add(f"reconstruction, {name}: PSNR, dB", lambda i, v=psnr: float(v[i].mean()))
        table.add(f"reconstruction, {name}: SSIM", lambda i, v=ssim: float(v[i].mean()))
        what = f"reconstruction, {name}: median error of the score, logits"
        table.add(what, lambda i, v=moved: float(np.median(v[i])))


def walks(table: Table, bundle: Any, images: list[Image], scores: np.ndarray) -> Counter[str]:
    """Validity both ways, on blended frames, by the model that steered the search: its own figure. That a step
    asked is a step measured holds by construction, and is no row."""
    ask = {"target": "class:1", "bundle": bundle}
    began = time.perf_counter()
    flips = cf.explain("latent-walk", bundle.predictor, images, **ask)
    seconds = (time.perf_counter() - began) / len(images)
    flipped = np.array([bool((np.sign(s.scores) != np.sign(s.scores[s.origin])).any()) for s in flips])
    reached = np.array([s.outcome == "reached" for s in flips])
    for name, rows in (("to the higher class", scores < 0), ("to the lower class", scores >= 0)):
        table.add(
            f"validity {name}: flip within budget",
            lambda i, r=rows: float(flipped[i][r[i]].mean()),
            wanted="≥ 0.90",
            among=rows,
        )
        table.add(
            f"validity {name}: probability 0.9 reached",
            lambda i, r=rows: float(reached[i][r[i]].mean()),
            among=rows,
        )
    length = np.array([s.latent_distance.max() for s in flips])
    table.add("median latent distance, SD", lambda i: float(np.median(length[i])))
    table.put("seconds for one explained image (encode, refine, search, nine frames)", seconds, None)
    return Counter(s.outcome for s in flips)


def realism(table: Table, bundle: Any, fit: Cohort, held: Cohort) -> None:
    """KID on two extractors."""
    fake = synthetic(bundle, 2000, 5)
    network = bundle.predictor.module

    @torch.no_grad()
    def features(extract: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
        return torch.cat([extract(x.float() / 127.5 - 1) for x in images.split(128)])

    for name, extract in (
        ("features of the classifier", network.features),
        ("random features", RandomFeatures(1)),
    ):
        rng = np.random.default_rng(0)
        for title, other in (
            (f"KID ×1000, {name}", fake),
            (f"KID ×1000 of training images, {name}", fit.images),
        ):
            found = kernel_distance_interval(
                features(extract, held.images), features(extract, other), rng=rng, rounds=50
            )
            table.put(title, 1000 * found.value, (1000 * found.low, 1000 * found.high))


def turing(table: Table, bundle: Any, fit: Cohort, held: Cohort) -> None:
    """A small network learns real from synthetic; asked about patients and latents it never saw."""
    torch.manual_seed(0)
    judge = ResidualNetwork(outputs=1, width=12, stages=4, blocks=1)
    real, fake = fit.images, synthetic(bundle, 5700, 11)
    optimiser = torch.optim.AdamW(judge.parameters(), lr=2e-3, weight_decay=0.05)
    for _ in range(600):
        x = torch.cat([real[torch.randint(len(real), (32,))], fake[torch.randint(len(fake), (32,))]])
        x = x.float() / 127.5 - 1
        goal = torch.cat([torch.ones(32), torch.zeros(32)])
        loss = F.binary_cross_entropy_with_logits(judge(x)[:, 0], goal)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    judge.eval()
    test = synthetic(bundle, max(100, len(held.images) // 100 * 100), 99)
    with torch.no_grad():
        on_real = torch.cat([judge(x.float() / 127.5 - 1)[:, 0] for x in held.images.split(128)]).numpy()
        on_fake = torch.cat([judge(x.float() / 127.5 - 1)[:, 0] for x in test.split(128)]).numpy()
    right = np.concatenate([on_real > 0, on_fake <= 0])
    accuracy, low, high = tables.interval(lambda rows: right[rows].mean(), len(right), share=True)
    table.put(
        "real-versus-synthetic classifier: accuracy (chance 0.5)",
        accuracy,
        (low, high),
        paper=PAPER["turing"],
    )


def write(name: str, table: Table, held: Cohort, walked: int, stopped: Counter[str], bundle: Path) -> None:
    if name != "knee":  # the paper showed knees and lymph nodes
        table.rows = [{**row, "paper": ""} for row in table.rows]
    about = read_json(bundle / "bundle.json")
    about["card"]["figures"] = table.rows
    write_json(bundle / "bundle.json", about)
    lines = [
        f"# Results of the bundle `{name}`",
        "",
        f"Measured on {len(held.images)} held-out images of {len(set(held.patients))} patients, none of "
        f"whom was seen in training; reconstruction and searches on {walked} of them. "
        f"{INTERVALS.format('patients')} The last column is Schutte et al. 2021 where they "
        "state a figure (their image size, data split and models differ).",
        "",
        "```",
        f"python -m experiments.evaluate.bundle {name} DATA --bundle {bundle} --images {walked}",
        "```",
        "",
        NOTE,
        "",
        table.markdown("wanted", "paper"),
        "Why the searches ended: " + ", ".join(f"{k} {v}" for k, v in sorted(stopped.items())) + ".",
        "",
    ]
    Path(f"docs/results/{PAGES.get(name, name)}.md").write_text("\n".join(lines))


def with_findings(options: argparse.Namespace, fit: Cohort, held: Cohort, bundle: Any) -> None:
    """A bundle whose generator has codes for findings: strips, realism, and the data's own shortcut."""
    scores, labels = scores_of(bundle.predictor, held.images), held.labels
    every, judge = Table(held.patients), load_judge(options.judges, options.name)
    every.add("f: AUC against the label", lambda i: roc_auc_score(labels[i], scores[i]))
    second = scores_of(judge, held.images)
    every.add("the second classifier: AUC against the label", lambda i: roc_auc_score(labels[i], second[i]))
    realism(every, bundle, fit, held)
    data = Table(held.patients)
    shortcut_rows(data.add, fit, held)
    some = both_sides(scores, options.images)
    images = [Image(held.images[i].float().numpy(), window=(0.0, 255.0)) for i in some]
    found = explained(bundle, images, judge, several=options.several)
    part, places = (Table([held.patients[i] for i in some]) for _ in range(2))
    strip_rows(part.add, found)
    place_rows(places.add, found)
    picture(Path(f"docs/pictures/medxgan_{options.name}.png"), found)
    write_findings(options, (every, part, data, places), held, found)


def write_findings(options: argparse.Namespace, made: tuple[Table, ...], held: Cohort, found: Strips) -> None:
    """The figures into the bundle's card and into tables that the results page takes up."""
    about = read_json(options.bundle / "bundle.json")
    about["card"]["figures"] = made[0].rows + made[1].rows
    write_json(options.bundle / "bundle.json", about)
    titles = (
        "Model and generator",
        "Strips",
        "What tells the classes apart",
        "Where the strips change the image",
    )
    up = int((found.start < 0).sum())
    lines = [
        f"Measured on {len(held.images)} held-out slices; strips of {len(found.strips)} of them, {up} that the "
        f"model finds negative and {len(found.strips) - up} positive, {options.several} drawn findings each, "
        f"{found.seconds:.1f} seconds a strip. {INTERVALS.format('slices')}",
    ]
    for title, one in zip(titles, made, strict=True):
        lines += ["", f"## {title}", "", one.markdown("wanted").rstrip()]
    ends = ", ".join(f"{k} {v}" for k, v in sorted(found.reasons.items()))
    lines += ["", f"Why the searches ended: {ends}.", ""]
    page = Path(f"docs/results/{options.name}.md")
    before = (
        page.read_text().split(MARK)[0] if page.exists() else f"# Results of the bundle `{options.name}`\n\n"
    )
    page.write_text(before + MARK + "\n" + "\n".join(lines))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=["knee", "brain"])
    parser.add_argument("data", type=Path)
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--images", type=int, default=200, help="images that are changed")
    parser.add_argument("--judges", type=Path, default=Path("runs/oracle"), help="of oracle.py; for brain")
    parser.add_argument("--several", type=int, default=2, help="drawn findings per image; for brain")
    options = parser.parse_args()
    fit, held = train_and_val(options.name, options.data)
    bundle = load_bundle(options.bundle).for_latent_space()
    if options.name == "brain":
        with_findings(options, fit, held, bundle)
        return
    scores = scores_of(bundle.predictor, held.images)
    table = classifier_and_surrogate(bundle, held, scores)
    some = np.sort(np.random.default_rng(0).permutation(len(held.images))[: options.images])
    part = Table([held.patients[i] for i in some])
    reconstruction(part, bundle, held.images[some])
    images = [Image(held.images[i].float().numpy(), window=(0.0, 255.0)) for i in some]
    stopped = walks(part, bundle, images, scores[some])
    realism(part, bundle, fit, held)
    turing(part, bundle, fit, held)
    table.rows += part.rows
    write(options.name, table, held, len(some), stopped, options.bundle)


if __name__ == "__main__":
    main()
