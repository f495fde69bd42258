"""Issue 19, number 21: small files that stand for very much, read within a bound of memory."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

#: Reads a table with little more memory than the reader itself has, and tells what came of it.
READ = """
import resource, sys
import pyarrow.parquet
from affineur.errors import AffineurError
from affineur.transfer.tables import open_table, to_corpus
def held(field):
    line = next(line for line in open("/proc/self/status") if line.startswith(field))
    return int(line.split()[1]) // 1024
before = held("VmHWM")
more = int(sys.argv[2]) << 20
resource.setrlimit(resource.RLIMIT_AS, (held("VmSize") * 2**20 + 2 * more + 2**29,) * 2)
try:
    to_corpus("a", [open_table(__import__("pathlib").Path(sys.argv[1]))], None, ["O"])
except AffineurError as error:
    print(error)
print(held("VmHWM") - before)
"""


def peak(path: Path, most: int) -> tuple[str, int]:
    """Return what was said of a file, and how many MiB reading it took at most."""
    done = subprocess.run(
        [sys.executable, "-c", READ, str(path), str(most)], capture_output=True, text=True, timeout=100
    )
    assert done.returncode == 0, done.stderr
    said, took = done.stdout.splitlines()
    return said, int(took)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.slow
@pytest.mark.parametrize("rows", [1, 1200])
def test_a_kilobyte_of_parquet_that_holds_sixty_million_tokens(tmp_path: Path, rows: int) -> None:
    arrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    import numpy as np

    many = 60_000_000
    ends = arrow.array(np.linspace(0, many, rows + 1).astype(np.int32))
    zeros = arrow.array(np.zeros(many, np.int8))
    words = arrow.DictionaryArray.from_arrays(zeros, arrow.array(["a"]))
    table = arrow.table(
        {
            "tokens": arrow.ListArray.from_arrays(ends, words),
            "tags": arrow.ListArray.from_arrays(ends, zeros),
        }
    )
    parquet.write_table(table, tmp_path / "a.parquet", compression="zstd", row_group_size=many)
    assert (tmp_path / "a.parquet").stat().st_size < 5000
    said, took = peak(tmp_path / "a.parquet", 100)
    assert "60,000,000 tokens" in said
    assert took < 100


@pytest.mark.parametrize("dictionary", [True, False])
def test_parquet_that_says_a_long_text_in_very_many_places(tmp_path: Path, dictionary: bool) -> None:
    """Issue 19, 21: some kilobytes, of which a reader that builds the rows makes 50 GB."""
    arrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    many = 500_000
    words = arrow.DictionaryArray.from_arrays(
        arrow.array([0] * many, arrow.int32()), arrow.array(["y" * 100_000])
    )
    ends = arrow.array(range(0, many + 1, 100), arrow.int32())
    tags = arrow.DictionaryArray.from_arrays(arrow.array([0] * many, arrow.int32()), arrow.array(["O"]))
    table = arrow.table(
        {"tokens": arrow.ListArray.from_arrays(ends, words), "tags": arrow.ListArray.from_arrays(ends, tags)}
    )
    parquet.write_table(table, tmp_path / "a.parquet", store_schema=dictionary)
    assert (tmp_path / "a.parquet").stat().st_size < 20_000
    said, took = peak(tmp_path / "a.parquet", 100)
    assert "a token of 100,000 bytes" in said
    assert took < 100


def test_the_longest_entry_of_a_dictionary(tmp_path: Path) -> None:
    arrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    from affineur.transfer.dictionary_pages import longest_entry

    for codec in ("none", "snappy", "gzip", "zstd", "lz4", "brotli"):
        for version in ("1.0", "2.0"):
            table = arrow.table({"tokens": [["a" * i for i in range(1, 60)], ["é"]] * 50})
            parquet.write_table(table, tmp_path / "a.parquet", compression=codec, data_page_version=version)
            column = parquet.ParquetFile(tmp_path / "a.parquet").metadata.row_group(0).column(0)
            with (tmp_path / "a.parquet").open("rb") as file:
                assert longest_entry(file, column) == 59
    parquet.write_table(table, tmp_path / "a.parquet", use_dictionary=False)
    column = parquet.ParquetFile(tmp_path / "a.parquet").metadata.row_group(0).column(0)
    with (tmp_path / "a.parquet").open("rb") as file:
        assert longest_entry(file, column) == 0


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_line_of_a_million_tokens(tmp_path: Path) -> None:
    many = 1_000_000
    line = f'{{"tokens":[{",".join(["1"] * many)}],"tags":[{",".join(["0"] * many)}]}}'
    (tmp_path / "a.jsonl").write_text(line)
    said, took = peak(tmp_path / "a.jsonl", 150)
    assert "more than 100,000 words" in said
    assert took < 150


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_line_that_is_longer_than_any(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"tokens":[' + '"a",' * 20_000_000 + '"a"],"tags":[]}')
    said, took = peak(tmp_path / "a.jsonl", 100)
    assert "8,388,608 bytes" in said
    assert took < 100
