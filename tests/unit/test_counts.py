"""The judge of instruction counts: it lets through what is as expected, and nothing else."""

from pathlib import Path

import pytest

from lib.counts import Counts, here, judge, other


@pytest.mark.parametrize("found", [1000.0, 1010.0, 990.0])
def test_as_expected(found: float) -> None:
    assert judge("ingest", found, 1000.0) == ""


@pytest.mark.parametrize("found", [1011.0, 989.0])
def test_too_many_and_too_few(found: float) -> None:
    sentence = judge("ingest", found, 1000.0)
    assert sentence.startswith(f"ingest: {found} instructions, expected were 1000.0 ({found / 10 - 100:+.1f} %)")
    assert "make counts" in sentence


@pytest.mark.parametrize("found", [None, 0.0])
def test_what_is_not_counted_is_no_success(found: float | None) -> None:
    assert "nothing was counted" in judge("ingest", found, 1.0)


def test_a_small_count_may_differ_by_what_is_rounded() -> None:
    assert judge("gate", 5.0, 3.0) == ""
    assert judge("gate", 5.5, 3.0)


def test_another_compiler() -> None:
    made = Counts({"cc": "12.2.0", "clang": "14.0.6"})
    assert other(made, {"cc": "12.2.0", "clang": "14.0.6"}) == ""
    sentence = other(made, {"cc": "14.2.0", "clang": "14.0.6"})
    assert "here is cc 14.2.0, not 12.2.0;" in sentence
    assert "make counts" in sentence


def test_an_update_of_the_kernel_that_counts(tmp_path: Path) -> None:
    assert here(tmp_path)["kernel"] == "none"
    release = tmp_path / "lib/modules/6.12.9-made-up"
    release.mkdir(parents=True)
    made = Counts(here(tmp_path))
    assert other(made, here(tmp_path)) == ""
    release.rename(release.with_name("6.12.10-made-up"))
    assert "here is kernel 6.12.10-made-up, not 6.12.9-made-up;" in other(made, here(tmp_path))


def test_an_update_of_bcc(tmp_path: Path) -> None:
    made = Counts(here(tmp_path) | {"bcc": "0.1.0"})
    assert f"here is bcc {here(tmp_path)['bcc']}, not 0.1.0;" in other(made, here(tmp_path))


def test_what_is_written_is_read(tmp_path: Path) -> None:
    counts = Counts({"cc": "12.2.0"}, {'ring, "a" sample': 31.7, "verified, libbpf": 25349.0})
    counts.write(tmp_path / "counts.toml")
    assert Counts.read(tmp_path / "counts.toml") == counts
    assert Counts.read(tmp_path / "none.toml") == Counts()
