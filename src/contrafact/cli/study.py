"""`contrafact study`"""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Group, Parameter

from contrafact.cli.form import serve_form
from contrafact.cli.progress import bar, say
from contrafact.cli.trust_flags import TrustCode, TrustFile

MACHINES = Parameter(group=Group("Several machines", sort_key=2))
FORM = Parameter(group=Group("The study editor in the browser", sort_key=3))
Flag = Annotated[bool, Parameter(negative="")]
Open = Annotated[bool, Parameter(name="--open", negative="")]


def study(
    config: Path | None = None,
    *,
    engine: Annotated[str, MACHINES] = "processes",
    address: Annotated[str | None, MACHINES] = None,
    shard: Annotated[str | None, MACHINES] = None,
    merge: Annotated[Flag, MACHINES] = False,
    plan: Flag = False,
    retry: Flag = False,
    json: Flag = False,
    log_to: str | None = None,
    form: Annotated[Flag, FORM] = False,
    root: Annotated[Path, FORM] = Path("."),
    port: Annotated[int, FORM] = 0,
    open_: Annotated[Open, FORM] = False,
    trust: TrustFile = False,
    trust_code: TrustCode = False,
) -> None:
    """Run many methods on many images, from one file; results in the run folder are not computed again.

    A method that fails, or exceeds its time limit, is a row with its error; the others continue.
    Example: `contrafact study study.toml`, or `contrafact study --form` to write the file in the browser

    Args:
        config: TOML file; docs/study.md shows one. With --form it need not exist.
        engine: processes (a time limit can stop a method), local (in this process, for debugging) or ray.
        address: With --engine ray: the cluster, such as auto; default: one on this machine.
        shard: Run one part of the images alone, such as 3/16 (docs/how-to/cluster.md).
        merge: Take in the results of all parts, run what none has, and write tables and report.
        plan: Run the first image alone, and say what the rest takes: passes, seconds, memory.
        retry: Run failed tasks again.
        json: Print the outcome of every task as JSON.
        log_to: Log methods, progress and scores, but no images and no names, to mlflow or wandb.
        form: Write the file in a page on this machine, and run it from there.
        root: With --form: the folder whose files the page may use.
        port: With --form: port of the server; default: any free port.
        open_: With --form: open the browser too.
        trust: Load TorchScript files, which are code that runs on this machine (docs/security.md).
        trust_code: Import and call the factory of a model description from any package.
    """
    from contrafact.core import ContrafactError, InputError, Trust

    if form:
        serve_form(config, root=root, port=port, open_=open_, trust=Trust(trust, trust_code))
        return
    from contrafact.interop.study_log import logged_study
    from contrafact.io import open_run
    from contrafact.report.page import write_report
    from contrafact.study import read_study
    from contrafact.study.copies import RunCopy
    from contrafact.study.runner import study as run_study
    from contrafact.study.shards import read_shard

    if config is None:
        raise InputError("expected a study file; got none; name one, or write one with --form")
    if plan:
        without = {
            "--shard": shard,
            "--merge": merge,
            "--retry": retry,
            "--address": address,
            "--log-to": log_to,
        }
        for name in (name for name, value in without.items() if value):
            raise InputError(f"{name} does not go with --plan, which runs the first image alone")
        _say_plan(config, engine=engine, trust=trust, trust_code=trust_code, json=json)
        return
    rows: list[dict[str, Any]] = []
    how: dict[str, Any] = {"engine": engine, "address": address, "shard": shard, "merge": merge, "retry": retry}
    how |= {"trust": trust, "trust_code": trust_code}
    running = logged_study(config, log_to, **how) if log_to else run_study(config, **how)
    with bar("study", 1, quiet=json) as move:
        for row in running:
            error = row.failure.error if row.failure else ""
            name = f"{Path(row.task.image).name} {row.task.label}"
            move(row.done, text=f"{name}: {error}"[:100] if error else name, total=row.total)
            rows.append({"image": row.task.image, "method": row.task.label, "error": error})
    part, out = read_shard(shard), config.parent / read_study(config).out
    run = open_run(part.folder(out) if part else out)
    if not run.done():
        raise ContrafactError(f"every method failed; see '{run.folder}/failures.jsonl' for the reasons")
    failed = run.failures()
    report = None if part else write_report(run)  # of the whole alone
    RunCopy(read_study(config).copy_to, part).send(run.folder)
    lines = [f"{len(run.done())} results, {len(failed)} failed"]
    lines += [f"when all parts are done: contrafact study {config} --merge"] if part else [f"report: {report}"]
    lines += [f"failed: {Path(f['source']).name} {f['method']}: {f['error']}" for f in failed]
    say(
        {"run": str(run.folder), "report": report and str(report), "now": rows, "failed": failed},
        as_json=json,
        lines=lines,
    )


def _say_plan(config: Path, *, json: bool, **options: Any) -> None:
    """Print what a study costs."""
    import dataclasses

    from contrafact.study.planning import plan

    found = plan(config, **options)
    several = {(one.model, one.target) for one in found.methods}
    lines = [f"{'method':<28} {'passes':>8} {'seconds':>8} {'memory':>9}   on the first image"]
    for one in found.methods:
        words = [one.method, *([one.model, one.target] if len(several) > 1 else [])]
        cost = f"{one.passes:>8.0f} {one.seconds:>8.2f} {one.memory_mb:>6.0f} MB"
        lines.append(f"{' '.join(filter(None, words)):<28} {f'failed: {one.error}' if one.error else cost}")
    lines += [f"{'metrics':<28} {'':>8} {found.scoring:>8.2f}"] if found.scoring else []
    lines.append(
        f"{found.left} of {found.images} images are left: about {timedelta(seconds=round(found.seconds))} and "
        f"{found.memory_mb:.0f} MB with {found.workers} worker(s)"
    )
    told = {**dataclasses.asdict(found), "seconds": found.seconds, "memory_mb": found.memory_mb}
    say(told, as_json=json, lines=lines)
