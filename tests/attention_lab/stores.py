"""MLflow's tables as they are before the first run, for tests that each begin with a store of their own."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory


@cache
def tables() -> bytes:
    """A file of SQLite. MLflow makes it by dozens of migrations, which take longer than what a test does with it."""
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    with TemporaryDirectory() as folder:
        file = Path(folder, "mlflow.db")
        SqlAlchemyStore(f"sqlite:///{file}", folder).engine.dispose()
        return file.read_bytes()
