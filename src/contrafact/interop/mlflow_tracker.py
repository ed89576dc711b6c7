"""Log a study to MLflow."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from contrafact.core import UnsupportedError

FEW = 100  # settings that a server takes at once
LONGEST = 500  # characters of a setting


class MLflowTracker:
    """A run of MLflow for each study; needs the extra `contrafact[mlflow]`.

    uri         of the tracking server or folder; None: as MLflow is set up (MLFLOW_TRACKING_URI)
    experiment  its name; it is made where it is missing
    raises      UnsupportedError without MLflow
    """

    def __init__(self, *, uri: str | None = None, experiment: str = "contrafact") -> None:
        try:
            from mlflow import MlflowClient
        except ImportError as error:
            raise UnsupportedError("logging to MLflow needs: pip install 'contrafact[mlflow]'") from error
        self.client: Any = MlflowClient(tracking_uri=uri)
        self.experiment = experiment
        self.run = ""

    def start(self, name: str, settings: Mapping[str, Any]) -> None:
        """Begin a run with the settings as its parameters."""
        from mlflow.entities import Param

        found = self.client.get_experiment_by_name(self.experiment)
        experiment = found.experiment_id if found else self.client.create_experiment(self.experiment)
        self.run = self.client.create_run(experiment, run_name=name).info.run_id
        parameters = [Param(_name(key), str(value)[:LONGEST]) for key, value in settings.items()]
        for first in range(0, len(parameters), FEW):
            self.client.log_batch(self.run, params=parameters[first : first + FEW])

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Log numbers of a step."""
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        metrics = [Metric(_name(key), float(value), now, step) for key, value in values.items()]
        for first in range(0, len(metrics), FEW):
            self.client.log_batch(self.run, metrics=metrics[first : first + FEW])

    def finish(self, values: Mapping[str, float], files: Sequence[Path], *, failed: bool) -> None:
        """Log the means and the tables, and end the run."""
        self.log(values, 0)
        for path in files:
            self.client.log_artifact(self.run, str(path))
        self.client.set_terminated(self.run, "FAILED" if failed else "FINISHED")


def _name(text: str) -> str:
    """Return a name of the characters that MLflow takes."""
    return re.sub(r"[^\w\-. /]", "_", text.replace("+", "plus"))
