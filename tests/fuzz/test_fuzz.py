"""The parser, captures and messages of psample under libFuzzer, address and undefined-behaviour sanitizers.

A bounded run for every `make test`; for a long one, run the built programs by hand (see the build fixture).
"""

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NATIVE = ROOT / "sampler" / "native"
SANITIZERS = "-fsanitize=address,undefined"
CAPTURE_SOURCES = [NATIVE / f"{name}.c" for name in ("capture", "linktype", "pipe", "plain", "thinning")]
RUNS = 200_000


@pytest.fixture(scope="module")
def seeds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from fuzz import seeds

    folder = tmp_path_factory.mktemp("seeds")
    seeds.main(folder)
    return folder


def build(folder: Path, source: str, *more: Path, fuzzer: bool = True) -> Path:
    clang = shutil.which("clang")
    if clang is None:
        pytest.skip("clang is not installed: apt-get install clang libclang-rt-dev")
    program = folder / source.removesuffix(".c")
    command = [clang, "-std=gnu11", "-g", "-O1", "-Wall", "-Wextra", "-Werror", "-fno-sanitize-recover=all"]
    command += [SANITIZERS + (",fuzzer" if fuzzer else ""), f"-I{NATIVE}", f"-I{ROOT / 'bpf'}"]
    command += [str(path) for path in (ROOT / "tests" / "fuzz" / source, NATIVE / "parser.c", *more)]
    done = subprocess.run([*command, "-lpcap", "-o", str(program)], capture_output=True, text=True)
    assert not done.returncode, done.stderr
    return program


def fuzz(program: Path, corpus: Path, seeds: Path, runs: int) -> None:
    """A fixed seed: a failure in CI is one that can be had again."""
    corpus.mkdir()
    limits = [f"-runs={runs}", "-seed=1", "-max_len=1024", "-timeout=5", "-rss_limit_mb=512", "-detect_leaks=1"]
    command = [str(program), *limits, f"-artifact_prefix={corpus.parent}/", str(corpus), str(seeds)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert not done.returncode, done.stderr[-4000:]
    assert f"Done {runs} runs" in done.stderr


def test_parser_survives_any_frame(tmp_path: Path, seeds: Path) -> None:
    fuzz(build(tmp_path, "parser_fuzz.c"), tmp_path / "corpus", seeds / "parser", RUNS)


def test_capture_reader_survives_any_file(tmp_path: Path, seeds: Path) -> None:
    program = build(tmp_path, "capture_fuzz.c", *CAPTURE_SOURCES)
    fuzz(program, tmp_path / "corpus", seeds / "capture", RUNS // 10)


def test_psample_survives_any_message(tmp_path: Path, seeds: Path) -> None:
    program = build(tmp_path, "psample_fuzz.c", NATIVE / "psample_message.c", NATIVE / "psample_sample.c")
    fuzz(program, tmp_path / "corpus", seeds / "psample", RUNS // 2)


def test_frames_ended_at_every_octet(tmp_path: Path, seeds: Path) -> None:
    program = build(tmp_path, "truncate.c", fuzzer=False)
    names = sorted(str(path) for path in (seeds / "parser").iterdir())
    done = subprocess.run([str(program), *names], capture_output=True, text=True, timeout=60)
    assert not done.returncode, done.stderr
    assert done.stdout == f"{len(names)} seeds\n"
