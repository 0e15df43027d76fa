"""What is counted of the BPF programs: their sizes here, all else in a machine with Debian's kernel (inside.py).

bcc compiles here, because it takes a minute and a half in the machine.
"""

import importlib.resources
import json
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from lib import tunnel_frames
from lib.bpfgraph import sections
from lib.machine import TREE, Machine
from lib.traffic import udp_frame
from sampler.kernel.features import kernel_features
from sampler.kernel.loader_bcc import INSTRUCTION_SIZE, PROGRAM_TYPES, compile_source
from sampler.kernel.maps import Maps
from tests.perf.inside import ANY_MAP, COUNTS, GIVEN

SERIES = "6.12"
KERNEL = TREE / ".state/kernels" / SERIES
DEADLINE = 300
# Of that series, whatever this kernel has; it is checked inside.
FEATURES = {name: int(name in ("xdp_load_bytes", "skb_xfrm_state")) for name in kernel_features()}


def count(folder: Path) -> dict[str, float]:
    """As root, in an empty folder: every count by name."""
    with Maps() as maps, TemporaryDirectory() as state:
        places = {name: ANY_MAP + number for number, name in enumerate(maps.fds())}
        compiled = compile_source("sampler.bpf.c", PROGRAM_TYPES, places, FEATURES, Path(state))
    given = {
        "features": FEATURES,
        "programs": {name: code.hex() for name, code in compiled.items()},
        "plain": udp_frame(payload=18).hex(),
        "vxlan": bytes(tunnel_frames.FRAMES["vxlan"].frame).hex(),
    }
    (folder / GIVEN).write_text(json.dumps(given))
    with Machine(KERNEL.resolve(), folder, counting=True) as machine:
        command = f"PYTHONPATH={TREE}:{TREE / 'tests'} {sys.executable} -m tests.perf.inside"
        done = machine.run([command], DEADLINE)
    assert done.code == 0, done.output + done.console
    return sizes(compiled) | json.loads((folder / COUNTS).read_text())


def sizes(compiled: dict[str, bytes]) -> dict[str, float]:
    """Instructions of each section of the objects that libbpf loads, and of each program that bcc compiled."""
    package = importlib.resources.files("sampler")
    objects = [Path(str(package.joinpath(f"{name}.bpf.o"))) for name in ("sampler", "observer")]
    built = {name: code for path in objects for name, code in sections(path)}
    found = {f"size, libbpf, section {name}": code for name, code in built.items()}
    found |= {f"size, bcc, {name}": code for name, code in compiled.items()}
    return {name: len(code) / INSTRUCTION_SIZE for name, code in found.items()}
