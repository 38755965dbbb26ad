"""MLflow: one run per pipeline result. Only this module and `serving.py` know it.

The train stage opens a run, evaluate and interpret find it again by the digest of their model: a run's id changes
with every run, so it must not enter an output of the pipeline. A stage that DVC takes from its cache runs nothing,
and so logs nothing.
"""

from __future__ import annotations

import json
import logging
import os
import re
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd
from filelock import FileLock

from attention_lab.errors import InputError
from attention_lab.records import digest, read, write_bytes

EXPERIMENT = "attention-lab"
MOST = 10_000  # runs that are read at once
NOTE = "mlflow.note.content"  # the description that the UI shows of a run
LOOKED = "\n\n**Where it looked, and whether that can be believed**\n\n"  # begins the second part of a description
MOST_LETTERS = 5000  # of a description; MLflow refuses longer tags than 8000
FLUSH = 200  # metrics in one request; each request costs about as much as a hundred metrics


def home() -> Path:
    """Where shared state lives: in DVC's temporary workspaces this is still the main one."""
    return Path(os.environ.get("DVC_ROOT", ".")).resolve()


class Run:
    """An MLflow run that is being written."""

    def __init__(self, client: Any, identifier: str) -> None:
        self.client = client
        self.identifier = identifier
        self._waiting: list[Any] = []

    def metrics(self, step: int, metrics: dict[str, float]) -> None:
        """Metrics of a step; they are sent in batches."""
        from mlflow.entities import Metric

        now = int(1000 * time.time())
        self._waiting += [Metric(name, float(value), now, step) for name, value in metrics.items()]
        if len(self._waiting) >= FLUSH:
            self.flush()

    def flush(self) -> None:
        for start in range(0, len(self._waiting), 1000):  # MLflow takes at most 1000 at once
            self.client.log_batch(self.identifier, metrics=self._waiting[start : start + 1000])
        self._waiting = []

    def params(self, values: dict[str, Any]) -> None:
        """Nested parameters, under dotted names."""
        from mlflow.entities import Param

        params = [Param(name, str(value)) for name, value in flatten(values).items()]
        self.client.log_batch(self.identifier, params=params)

    def tags(self, values: dict[str, str]) -> None:
        for name, value in values.items():
            self.client.set_tag(self.identifier, name, value)

    def result(self, stage: str, values: dict[str, Any], speed: dict[str, float] | None = None) -> None:
        """Final metrics: numbers under `stage.name`, single texts as tags, and a description. What differs from run to
        run by nature (`speed`) goes to metrics/timing.json as well, which DVC does not track.

        What would bury the rest is among the files alone: the confusion matrix, with a figure for each pair of classes,
        and of methods and gates all but one figure of each measure.
        """
        told = {name: value for name, value in values.items() if name != "confusion"}
        flat = {_allowed(name): value for name, value in flatten({stage: {**told, **(speed or {})}}).items()}
        short = {name: value for name, value in flat.items() if not _in_full.search(name)}
        self.metrics(0, {name: value for name, value in short.items() if _is_number(value)})
        self.tags({name: value for name, value in short.items() if isinstance(value, str) and value[:1] not in "[{"})
        self.flush()
        self._describe(values)
        if speed is not None:
            _record_time(stage, speed)

    def _describe(self, values: dict[str, Any]) -> None:
        """Say in words what was found, where the UI shows it: how good the model is; behind that, where it looked."""
        known = self.client.get_run(self.identifier).data.tags.get(NOTE, "")
        if "score_name" in values:
            known = _how_good(values)
        elif "sentences" in values:
            points = [
                sentence[:1].upper() + sentence[1:]
                for sentence in (*values["sentences"], *values.get("conclusion", ()))
            ]
            found = "\n".join(f"- {point.removesuffix('.')}." for point in points)
            known = f"{known.split(LOOKED)[0]}{LOOKED}{found}\n\nSee the artifact report.html."
        else:
            return
        self.tags({NOTE: known[:MOST_LETTERS]})

    def artifacts(self, *paths: Path, folder: str | None = None) -> None:
        """Files, or all files of folders."""
        for path in paths:
            log = self.client.log_artifacts if path.is_dir() else self.client.log_artifact
            log(self.identifier, str(path), folder or (path.name if path.is_dir() else None))

    def data(self, name: str, directory: Path) -> None:
        """The data set that the run reads, with its digest."""
        from mlflow.data.dataset_source_registry import resolve_dataset_source
        from mlflow.data.meta_dataset import MetaDataset
        from mlflow.entities import DatasetInput, InputTag

        checksum = digest(directory)
        source = resolve_dataset_source(directory.resolve().as_uri())
        data = MetaDataset(source, name=name, digest=checksum[:32])
        entity = DatasetInput(data._to_mlflow_entity(), [InputTag("mlflow.data.context", "training")])
        self.client.log_inputs(self.identifier, datasets=[entity])
        self.tags({"data_digest": checksum})

    def model(self, directory: Path, task: str, example: str | dict[str, str]) -> None:
        """The trained model as a pyfunc that `mlflow models serve --env-manager local` serves.

        Args:
            task: its name decides the types of input and answer.
            example: one input: a text, or a question with its context.
        """
        import mlflow

        package = Path(__file__).parent
        self.tags({"model_digest": digest(directory)})
        with mlflow.start_run(run_id=self.identifier):
            mlflow.pyfunc.log_model(
                name="model",
                python_model=str(package / "serving.py"),
                model_config={"task": task},
                artifacts={"model": str(directory)},
                code_paths=[str(package)],
                pip_requirements=[],
                input_example=[example],
            )


@dataclass(frozen=True)
class Result:
    """A run that has ended: parameters under dotted names, final metrics under `stage.name`, and texts.

    run: its number. failed: its last stage did; one that a person has ended did not.
    """

    params: dict[str, str]
    metrics: dict[str, float]
    tags: dict[str, str]
    run: str = ""
    failed: bool = False


def results() -> list[Result]:
    """The runs that have ended, the newest first.

    Raises:
        InputError: there are none yet.
    """
    if "MLFLOW_TRACKING_URI" not in os.environ and not (home() / "mlflow.db").exists():
        raise InputError(
            "mlflow.db is missing, because nothing has run here yet; run `dvc repro` or `dvc exp run` first"
        )
    client, experiment = _connect()
    newest_first = ["attributes.start_time DESC"]
    ended = "attributes.status != 'RUNNING'"
    runs = client.search_runs([experiment], ended, max_results=MOST, order_by=newest_first)
    return [
        Result(run.data.params, run.data.metrics, run.data.tags, run.info.run_id, run.info.status == "FAILED")
        for run in runs
    ]


def predictions(result: Result) -> pd.DataFrame | None:
    """What the model of a run predicted, row by row, as the evaluate stage has logged it; None where it is gone."""
    from mlflow.exceptions import MlflowException

    client, _ = _connect()
    with TemporaryDirectory() as folder:
        try:
            return read(Path(client.download_artifacts(result.run, "predictions/predictions.parquet", folder)))
        except (MlflowException, OSError):
            return None


@contextmanager
def training_run(key: str, what: str, params: dict[str, Any]) -> Iterator[Run]:
    """A run for a training with these parameters; a training that was killed, or that a person has ended, and goes on
    finds its run again by `key`, if its parameters, of which the key has those that matter, are the same.

    what: the run's name, with that of the DVC experiment behind it.
    """
    client, experiment = _connect()
    wanted = {name: str(value) for name, value in flatten(params).items()}
    known = client.search_runs([experiment], f"tags.training_key = '{key}' and attributes.status != 'FINISHED'")
    unfinished = [run for run in known if run.info.status != "FAILED" and run.data.params in ({}, wanted)]
    if unfinished:
        identifier = unfinished[0].info.run_id
        client.update_run(identifier, status="RUNNING")
    else:
        of = os.environ.get("DVC_EXP_NAME")
        name = f"{what} ({of})" if of else what
        tags = {"training_key": key} | _origin()
        identifier = client.create_run(experiment, run_name=name, tags=tags).info.run_id
    run = Run(client, identifier)
    run.tags(_experiment())
    with _ending(run):
        run.params(wanted)
        yield run


ON_MODELS = ("evaluate", "interpret")  # stages that find out about a model, in their order


@contextmanager
def run_of(model: Path, params: dict[str, Any], stage: str) -> Iterator[Run]:
    """The newest run of the model in that folder, to add what a stage of `ON_MODELS` finds out about it.

    A run's params cannot change. If that run was made with others of these stages, this is a new result of the same
    model, and gets a run of its own with what is known from the stages before: params, tags, final metrics, data set.

    Args:
        params: all of params.yaml; those of the stage, and of the one before it, tell results of a model apart. The
            others are logged where the model has no run.
    """
    client, experiment = _connect()
    checksum = digest(model)
    known = client.search_runs(
        [experiment], f"tags.model_digest = '{checksum}'", order_by=["attributes.start_time DESC"]
    )
    place = ON_MODELS.index(stage)
    told, yet = ON_MODELS[: place + 1], ON_MODELS[place:]
    every = {name: str(value) for name, value in flatten(params).items()}
    wanted = _of(told, every)

    def fit(run: Any, names: dict[str, str]) -> bool:
        return all(run.data.params.get(name, value) == value for name, value in names.items())

    fitting = [run for run in known if fit(run, wanted)]
    if fitting:
        identifier = fitting[0].info.run_id
    else:
        # Of several results of the model that of the same stages before.
        base = next((run for run in known if fit(run, _of(ON_MODELS[:place], every))), known[0] if known else None)
        tags = {} if base is None else dict(base.data.tags)
        tags = {tag: value for tag, value in tags.items() if tag == NOTE or not tag.startswith("mlflow.")}
        tags = _but(yet, tags) | _experiment() | _origin() | {"model_digest": checksum}
        name = os.environ.get("DVC_EXP_NAME") if base is None else base.info.run_name
        identifier = client.create_run(experiment, run_name=name, tags=tags).info.run_id
        run = Run(client, identifier)
        if base is None:
            run.params(_but(yet, every))
        else:
            run.params(_but(yet, base.data.params))
            run.metrics(0, _but(yet, base.data.metrics))
            client.log_inputs(identifier, datasets=base.inputs.dataset_inputs)
            run.flush()
    run = Run(client, identifier)
    with _ending(run):
        run.params(wanted)
        yield run


def _of(sections: Sequence[str], values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if name.split(".")[0] in sections}


def _but(sections: Sequence[str], values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if name.split(".")[0] not in sections}


def _experiment() -> dict[str, str]:
    """DVC's name for what runs, and what it goes back to."""
    known = {"dvc.experiment": "DVC_EXP_NAME", "dvc.baseline": "DVC_EXP_BASELINE_REV"}
    return {tag: os.environ[name] for tag, name in known.items() if os.environ.get(name)}


def _origin() -> dict[str, str]:
    """The program that runs, the commit and the user, as MLflow's own way to begin a run notes them."""
    from mlflow.tracking.context.registry import resolve_tags

    return dict(resolve_tags())


def _how_good(evaluate: dict[str, Any]) -> str:
    """The score with its interval, and what needs no attention, in Markdown."""
    name, low, high = (evaluate[key] for key in ("score_name", "score_low", "score_high"))
    between = "" if low is None else f", 95 % interval {low:.4g} to {high:.4g}"
    told = f"**{name} {evaluate['score']:.4g}** on {evaluate['examples']:,} {evaluate['split']} examples{between}."
    for kind in ("classical", "baseline"):
        if kind in evaluate:
            told += f" {kind.capitalize()} ({evaluate[kind]['what']}): {evaluate[kind][name]:.4g}."
    return told


@contextmanager
def _ending(run: Run) -> Iterator[None]:
    """Mark the run as finished or failed, or as killed where a person has ended it (Ctrl+C); a process that is killed
    leaves it running. Those two are taken up again."""
    try:
        yield
    except BaseException as error:
        try:
            run.flush()
        finally:
            run.client.set_terminated(run.identifier, "KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED")
        raise
    run.flush()
    run.client.set_terminated(run.identifier, "FINISHED")


def _connect() -> tuple[Any, str]:
    """The client and the id of the experiment, in the user's server or in mlflow.db beside the project."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("DO_NOT_TRACK", "true")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    import mlflow

    logging.getLogger("mlflow").setLevel(logging.WARNING)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", message="The specified dataset source can be interpreted")  # nothing to do
    given = os.environ.get("MLFLOW_TRACKING_URI")
    mlflow.set_tracking_uri(given or f"sqlite:///{home() / 'mlflow.db'}")
    # Two experiments that create the database at the same time would break it.
    lock = home() / ".dvc" / "tmp" / "mlflow.lock"
    lock.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(lock):
        client = mlflow.MlflowClient()
        found = client.get_experiment_by_name(EXPERIMENT)
        if found is not None:
            experiment = found.experiment_id
        else:
            place = None if given else (home() / "mlruns").as_uri()
            # The kind opens the UI on the table of runs; else it would open on an overview of calls to LLMs.
            kind = {"mlflow.experimentKind": "custom_model_development"}
            experiment = client.create_experiment(EXPERIMENT, artifact_location=place, tags=kind)
    mlflow.set_experiment(experiment_id=experiment)
    return client, experiment


def flatten(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """{"a": {"b": 1}} → {"a.b": 1}; lists become JSON."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, dict) and value:
            flat |= flatten(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = json.dumps(value) if isinstance(value, list | dict) else value
    return flat


def _record_time(stage: str, values: dict[str, float]) -> None:
    """Note in metrics/timing.json what differs from run to run; DVC does not track that file."""
    path = Path("metrics/timing.json")
    known = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    known[stage] = {name: round(value, 3) for name, value in values.items()}
    write_bytes(json.dumps(known, indent=2, sort_keys=True).encode() + b"\n", path)


# Of methods and gates: intervals, bounds and all texts.
_in_full = re.compile(r"^\w+\.(methods|gates)\..*(_low|_high|\.bound|\.what|\.paper|\.variant|\.reason|\.sentence)$")


def _allowed(name: str) -> str:
    """A name that MLflow takes, of one that may have a class in it: "C++"."""
    return re.sub(r"[^\w\-. :/]|/(?=/)|(?<=\.)/|/$", "_", name)[:250]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
