"""Log a study to Weights & Biases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from contrafact.core import UnsupportedError


class WandbTracker:
    """A run of Weights & Biases for each study; needs the extra `contrafact[wandb]`.

    project  its name
    options  of `wandb.init`, such as `mode="offline"`, which sends nothing, or `dir`
    raises   UnsupportedError without wandb
    """

    def __init__(self, *, project: str = "contrafact", **options: Any) -> None:
        try:
            import wandb
        except ImportError as error:
            raise UnsupportedError(
                "logging to Weights & Biases needs: pip install 'contrafact[wandb]'"
            ) from error
        self.wandb: Any = wandb
        self.options = {"project": project, **options}
        self.run: Any = None

    def start(self, name: str, settings: Mapping[str, Any]) -> None:
        """Begin a run with the settings as its configuration."""
        self.run = self.wandb.init(name=name, config=dict(settings), reinit="create_new", **self.options)

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Log numbers of a step."""
        self.run.log(dict(values), step=step)

    def finish(self, values: Mapping[str, float], files: Sequence[Path], *, failed: bool) -> None:
        """Log the means and the tables, and end the run."""
        self.run.summary.update(dict(values))
        if files:
            tables = self.wandb.Artifact("tables", type="tables")
            for path in files:
                tables.add_file(str(path))
            self.run.log_artifact(tables)
        self.run.finish(exit_code=int(failed))
