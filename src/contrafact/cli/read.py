"""`contrafact read`"""

from __future__ import annotations

from pathlib import Path
from typing import Literal


def read(
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
    """Ask readers: is an image real or synthetic, and which of two shows more severe findings.

    Prints a link for readers and one for the results. A reader who comes back goes on where they stopped.
    Example: `contrafact read runs/demo --task worse`

    Args:
        run: Run folder with counterfactuals.
        task: real (images of patients, never phantoms, against synthetic ones), worse (which of two
            synthetic images shows more of the finding), or both.
        judgements: Of one reader, for each task; default: every image of the run once.
        question: Asked of pairs, in place of "Which of the two images shows more severe FINDING?"
        seed: Of the random order.
        host: Address to serve on.
        port: Default: any that is free.
        out: File of the answers; default: reading.sqlite in the run folder.
        csv: Write the answers there and serve nothing.
    """
    from contrafact.core import InputError
    from contrafact.io import open_run
    from contrafact.viewer import pages as serving

    if judgements is not None and judgements < 1:
        raise InputError(f"expected at least one judgement; got {judgements}")
    opened = open_run(run)
    tasks = ("real", "worse") if task == "both" else (task,)
    begun = {"tasks": tasks, "judgements": judgements, "question": question, "seed": seed, "path": out}
    server, pages = serving.reading_parts()
    reading = pages.Reading(opened, **begun)
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
