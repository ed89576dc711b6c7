"""`contrafact reader-study`"""

from __future__ import annotations

from pathlib import Path
from typing import Literal


def reader_study(
    run: Path,
    *,
    task: Literal["real", "worse", "both"] = "both",
    judgements: int | None = None,
    question: str | None = None,
    seed: int = 0,
    host: str = "127.0.0.1",
    port: int = 0,
    out: Path | None = None,
    csv: Path | None = None,
) -> None:
    """Run a reader study in the browser: is an image real or synthetic, and which of two is more severe.

    The command prints a link for readers and one for the results. Readers can pause and continue later.
    Example: `contrafact reader-study runs/demo --task worse`

    Args:
        run: Run folder with counterfactuals.
        task: real (images of patients, never phantoms, against synthetic ones), worse (which of two
            synthetic images shows the more severe finding), or both.
        judgements: Number of judgements per reader and task; default: every image of the run once.
        question: Question for pairs; default: "Which of the two images shows more severe FINDING?"
        seed: Seed of the random order.
        host: Address of the server.
        port: Port of the server; default: any free port.
        out: File of the answers; default: reading.sqlite in the run folder.
        csv: Write the answers to this file, and start no server.
    """
    from contrafact.core import InputError
    from contrafact.io import open_run
    from contrafact.viewer import pages as serving

    if judgements is not None and judgements < 1:
        raise InputError(f"expected at least one judgement; got {judgements}")
    opened = open_run(run)
    tasks = ("real", "worse") if task == "both" else (task,)
    arguments = {"tasks": tasks, "judgements": judgements, "question": question, "seed": seed, "path": out}
    server, pages = serving.reading_parts()
    reading = pages.Reading(opened, **arguments)
    if csv:
        serving.write_csv(reading, csv)
        print(f"answers: {csv}")
        return
    print("\n".join(serving.plan_of(reading)))
    place, tokens = server.bind(host, port), {role: server.new_token() for role in ("reader", "owner")}
    app = pages.make_reading_app(reading, **tokens, hosts=place.names, addresses=not place.loopback)

    def ready() -> None:
        print(f"for readers: {place.link(token=tokens['reader'])}")
        print(f"for results: {place.link('/results', tokens['owner'])}\nCtrl-C stops it", flush=True)

    server.serve(app, place, ready=ready)
