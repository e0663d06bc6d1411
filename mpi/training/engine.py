"""Where Splink computes: DuckDB in this process's memory, or Spark.

The only imports of Splink, DuckDB and Spark; they are installed by the extra `mpi-train`.
Nothing is written to disk in clear: DuckDB may not spill, Spark's spills are encrypted.
"""

import importlib
import logging
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from hie.kernel.errors import Category, HieError
from mpi.training.fields import LevelFunction, TermFunction
from mpi.training.records import Records

Function = LevelFunction | TermFunction


class Engine(Protocol):
    """What holds tables and runs Splink's SQL, with our functions in it."""

    name: str
    api: Any  # a DatabaseAPI of Splink

    def table(self, records: Records) -> Any:
        """The records, registered with Splink."""
        ...

    def shares(self, term: str, rows: Sequence[tuple[str, float]]) -> Any:
        """A table of values and how common they are, as Splink looks them up."""
        ...


def imported(module: str) -> Any:
    """A module of the extra.

    Raises:
        HieError: UNSUPPORTED; the text says how to install it.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        text = (
            f"training needs the extra `mpi-train` (module `{module.partition('.')[0]}`): run "
            "`make training`, or `pip install --requirement requirements-train.txt`"
        )
        raise HieError(Category.UNSUPPORTED, text) from error


def require(*, is_spark: bool) -> None:
    """Refuse early what would fail after minutes of reading.

    Raises:
        HieError: UNSUPPORTED; the text says how to install what is missing.
    """
    for module in ("splink", "duckdb", "pyarrow", "numpy", *(["pyspark"] if is_spark else [])):
        imported(module)


@dataclass(slots=True)
class _DuckDb:
    api: Any
    arrow: Any
    name: str = "duckdb"

    def table(self, records: Records) -> Any:
        text = self.arrow.string()
        columns = {"unique_id": records.ids, **records.values}
        made = {name: self.arrow.array(values, text) for name, values in columns.items()}
        return self.api.register(self.arrow.table(made))

    def shares(self, term: str, rows: Sequence[tuple[str, float]]) -> Any:
        values, found = [row[0] for row in rows], [row[1] for row in rows]
        text, number = self.arrow.string(), self.arrow.float64()
        made = {term: self.arrow.array(values, text), f"tf_{term}": self.arrow.array(found, number)}
        return self.api.register(self.arrow.table(made))


@contextmanager
def duckdb_engine(functions: Sequence[Function]) -> Iterator[Engine]:
    """Splink on a DuckDB that lives in memory until the block is left."""
    duckdb, arrow = imported("duckdb"), imported("pyarrow")
    splink = imported("splink")
    types = imported("duckdb.sqltypes")
    _quiet()
    connection = duckdb.connect(":memory:")
    # What does not fit into memory must fail rather than be written to disk in clear.
    connection.execute("SET temp_directory = ''")
    for function in functions:
        is_level = isinstance(function, LevelFunction)
        connection.create_function(
            function.name,
            _by_column(function, arrow, arrow.int32() if is_level else arrow.string()),
            [types.VARCHAR, types.VARCHAR],
            types.INTEGER if is_level else types.VARCHAR,
            type="arrow",
            null_handling="special",
        )
    try:
        yield _DuckDb(splink.DuckDBAPI(connection=connection), arrow)
    finally:
        for function in functions:
            connection.remove_function(function.name)
        connection.close()


def _by_column(function: Function, arrow: Any, kind: Any) -> Callable[[Any, Any], Any]:
    def run(one: Any, other: Any) -> Any:
        pairs = zip(one.to_pylist(), other.to_pylist(), strict=True)
        return arrow.array([function(left, right) for left, right in pairs], kind)

    return run


@dataclass(slots=True)
class _Spark:
    api: Any
    session: Any
    name: str = "spark"

    def table(self, records: Records) -> Any:
        names = ["unique_id", *records.values]
        rows = list(zip(records.ids, *records.values.values(), strict=True))
        schema = ", ".join(f"{name} string" for name in names)
        return self.api.register(self.session.createDataFrame(rows, schema))

    def shares(self, term: str, rows: Sequence[tuple[str, float]]) -> Any:
        schema = f"{term} string, tf_{term} double"
        return self.api.register(self.session.createDataFrame(list(rows), schema))


@contextmanager
def spark_engine(functions: Sequence[Function], master: str) -> Iterator[Engine]:
    """Splink on Spark; `master` is `local[2]` or the address of a cluster.

    A cluster's workers need this package installed: they compare with the same code.
    """
    sql, types = imported("pyspark.sql"), imported("pyspark.sql.types")
    spark_api = imported("splink.backends.spark").SparkAPI
    _quiet()
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    is_local = master.startswith("local")
    if is_local:
        os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
    builder = sql.SparkSession.builder.master(master).appName("hie mpi train")
    settings = {
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.log.level": "ERROR",
        "spark.io.encryption.enabled": "true",
    }
    if is_local:
        settings |= {"spark.sql.shuffle.partitions": "4", "spark.driver.memory": "4g"}
    for key, value in settings.items():
        builder = builder.config(key, value)
    session = builder.getOrCreate()
    for function in functions:
        is_level = isinstance(function, LevelFunction)
        kind = types.IntegerType() if is_level else types.StringType()
        session.udf.register(function.name, function.__call__, kind)
    api = spark_api(
        spark_session=session, break_lineage_method="persist", register_udfs_automatically=False
    )
    try:
        yield _Spark(api, session)
    finally:
        session.stop()


def _quiet() -> None:
    """What Splink reports step by step, and what it cannot train, is said by us instead."""
    logger = logging.getLogger("splink")
    # Splink raises its own level; it adds no handler of its own where there is one.
    if not logger.handlers:
        logger.addHandler(logging.NullHandler())
    logger.propagate = False
