"""A study in parts: each runs a share of the images, anywhere, and one run takes in all results."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from contrafact.core import InputError
from contrafact.io import Run, open_run

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Shard:
    """One part of a study: number `index`, from 1, of `count`. It has every `count`-th image, so that all parts
    take as long where neighbouring images do."""

    index: int
    count: int

    def __post_init__(self) -> None:
        if not 1 <= self.index <= self.count:
            raise InputError(f"expected a shard from 1/{self.count} to {self.count}/{self.count}; got {self}")

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"

    def of(self, items: Sequence[Item]) -> list[Item]:
        """Return the part's share of the items, in order; raise InputError where there is none."""
        share = list(items[self.index - 1 :: self.count])
        if not share:
            raise InputError(f"expected at most {len(items)} shards for {len(items)} images; got shard {self}")
        return share

    def folder(self, out: Path) -> Path:
        """Return the part's own run folder, beside that of the study."""
        return folder_of_parts(out) / self.name

    @property
    def name(self) -> str:
        """The name of the part's run folder."""
        return f"{self.index:05d}-of-{self.count:05d}"


def folder_of_parts(out: Path) -> Path:
    """Return the folder of the parts of a study whose run folder is `out`."""
    return out.with_name(f"{out.name}-shards")


def read_shard(text: str | tuple[int, int] | None) -> Shard | None:
    """Return the shard of a text such as 3/16; raise InputError for any other text."""
    if text is None:
        return None
    if isinstance(text, str):
        found = re.fullmatch(r"\s*(\d+)\s*/\s*(\d+)\s*", text)
        if found is None:
            raise InputError(f"expected a shard as NUMBER/COUNT, from 1/COUNT on, such as 3/16; got '{text}'")
        text = (int(found[1]), int(found[2]))
    return Shard(*text)


def shards_of(out: Path) -> list[Run]:
    """Return the runs of the parts of a study, in order.

    raises  InputError where there is none, where parts of different counts lie there, or where one is missing
    """
    folder = folder_of_parts(out)
    names = [re.fullmatch(r"(\d+)-of-(\d+)", path.name) for path in folder.glob("*-of-*")]
    found = sorted((int(name[1]), int(name[2])) for name in names if name)
    if not found:
        raise InputError(f"expected parts of the study in '{folder}'; got none: run it with --shard 1/N to N/N")
    counts = sorted({count for _, count in found})
    if len(counts) > 1:
        raise InputError(
            f"expected parts of one division in '{folder}'; got parts of {' and of '.join(map(str, counts))}: "
            "remove those of the other, also from the store where the study has copy_to"
        )
    missing = sorted(set(range(1, counts[0] + 1)) - {index for index, _ in found})
    if missing:
        names_of = ", ".join(f"{index}/{counts[0]}" for index in missing[:5])
        more = f" and {len(missing) - 5} more" if len(missing) > 5 else ""
        raise InputError(f"expected all {counts[0]} parts in '{folder}'; missing: {names_of}{more}")
    return [open_run(Shard(*one).folder(out)) for one in found]


def take_in(run: Run, parts: Sequence[Run], keys: AbstractSet[str]) -> Iterator[tuple[int, int]]:
    """Store the results and failures of the parts in a run, those that it lacks; results of other settings
    (whose keys are not in `keys`) are left. Yield, after each part, its number and how many results were taken.
    A process that ends meanwhile loses nothing: the next call takes the rest."""
    for number, part in enumerate(parts, start=1):
        known, taken = run.done(), 0
        damaged = part.unreadable(part.done() & set(keys))
        for row in part.rows():
            if row["key"] in keys and row["key"] not in known | damaged:
                run.take(part, row)
                taken += 1
        run.add_methods(part.methods())
        for row in _new(part.failures(), run.failures(), keys - run.done()):
            run.add_failure(**row)
        yield number, taken


def take_scores(run: Run, parts: Sequence[Run], keys: AbstractSet[str]) -> None:
    """Store the scores of the parts that the run lacks and whose keys are in `keys`; these are known when all
    results are there."""
    wanted = keys - run.scores().keys()
    for part in parts if wanted else ():
        for key, row in part.scores().items():
            if key in wanted:
                run.add_scores(**row)
                wanted -= {key}


def _new(
    rows: Sequence[dict[str, Any]], known: Sequence[dict[str, Any]], keys: Collection[str]
) -> list[dict[str, Any]]:
    """Return the failures of the study that are not known yet."""
    there = {row["key"] for row in known}
    return [row for row in rows if row["key"] in keys and row["key"] not in there]
