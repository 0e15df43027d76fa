"""What cannot be loaded is told in one sentence with its way out."""

import os
from pathlib import Path

import pytest

from sampler.errors import StartError
from sampler.kernel import loader_bcc
from sampler.kernel.loader import load
from sampler.kernel.maps import Maps


def test_unknown_loader():
    with Maps() as maps, pytest.raises(StartError, match=r"'gcc'.*libbpf or bcc"):
        load("gcc", maps)


def test_headers_tree_prefers_the_first_folder(tmp_path):
    for folder, names in (("arch", ["include/a.h"]), ("common", ["include/a.h", "include/b.h", "Makefile"])):
        for name in names:
            path = tmp_path / folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(folder)
    tree = loader_bcc.merge_headers(tmp_path / "arch", tmp_path / "common", tmp_path / "state")
    assert (tree / "include/a.h").read_text() == "arch"
    assert (tree / "include/b.h").read_text() == (tree / "Makefile").read_text() == "common"


def test_compile_error_is_captured(tmp_path, monkeypatch):
    bcc = pytest.importorskip("bcc", reason="python3-bpfcc is not installed")
    source = tmp_path / "broken.c"
    source.write_text("int broken(void *ctx) { return nothing; }\n")
    with loader_bcc.CapturedOutput() as output:
        headers = loader_bcc.kernel_headers(Path(tmp_path))
        error, _ = loader_bcc.run_bcc(bcc, source, ["broken"], [], headers)
    assert "Failed to compile" in error
    assert "nothing" in output.text
    assert "BCC_KERNEL_SOURCE" not in os.environ or headers is None
