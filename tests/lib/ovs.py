"""Open vSwitch as a peer: its daemons, started by the test in a namespace of the test, sampling bridges to IPFIX.

ovsdb-server and ovs-vswitchd with the userspace datapath (`datapath_type=netdev`), which reads the port through an
AF_PACKET socket and needs no kernel module. Database, sockets, pid files and logs are in a folder of the test; the
distribution's service and its /run/openvswitch are not touched.
"""

import os
import re
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from lib.netns import Namespace
from lib.traffic import send
from lib.wait import wait_until

SCHEMA = Path("/usr/share/openvswitch/vswitch.ovsschema")
BRIDGE = "br0"
# An AF_PACKET socket holds net.core.rmem_default octets (212992), of which a frame takes its own and a buffer's.
CHUNK = 120_000
BUFFER = 1536
RULES_FRAGMENTS = "nx-match"  # the ports of first fragments are looked at, as ours are; by default they are hidden
RECEIVED = re.compile(r"packets received: (\d+)")
CREATED = re.compile(r": flows=(\d+)")
SAMPLED = re.compile(r"sampled pkts=(\d+)")


@dataclass(frozen=True)
class OvsRule:
    """A flow whose action is sample(): whose packets are sampled, to which collector set, and as whose."""

    match: str
    collector_set_id: int
    obs_domain_id: int
    obs_point_id: int
    probability: int = 65535

    @property
    def action(self) -> str:
        """The action as ovs-ofctl(8) takes it."""
        return (
            f"sample(probability={self.probability},collector_set_id={self.collector_set_id},"
            f"obs_domain_id={self.obs_domain_id},obs_point_id={self.obs_point_id})"
        )


class OpenVSwitch:
    """A bridge with one port that drops all packets, after a sample of each went to the IPFIX cache.

    lib.ovs_tunnels has another one, with tunnels.

    A context manager; leaving it ends both daemons by their pids.

    Args:
        namespace: where it runs.
        folder: for database, sockets, logs. Kept short: paths of unix sockets have 107 octets.
        port: the name of the link in the namespace that becomes the bridge's port.

    """

    def __init__(self, namespace: Namespace, folder: Path, port: str) -> None:
        self._namespace = namespace
        self._folder = folder
        self._port = port
        self._environment = os.environ | {
            name: str(folder) for name in ("OVS_RUNDIR", "OVS_DBDIR", "OVS_LOGDIR", "OVS_SYSCONFDIR")
        }
        self._database = f"unix:{folder}/db.sock"
        self._processes: list[subprocess.Popen[str]] = []

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the daemons. They are children of this process and have written nothing outside the folder."""
        while self._processes:
            process = self._processes.pop()
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(10)

    def _start(self) -> None:
        database = self._folder / "conf.db"
        self._run("ovsdb-tool", "create", str(database), str(SCHEMA))
        self._daemon("ovsdb-server", str(database), f"--remote=p{self._database}")
        self._vsctl("--no-wait", "init")
        self._daemon("ovs-vswitchd", self._database)
        # Two tags are parsed, as by xdpfix; the default is one, with all of the inner packet unseen.
        self._vsctl("set", "Open_vSwitch", ".", "other_config:vlan-limit=2")
        self._build()

    def _build(self) -> None:
        """Make the bridges."""
        self._add_bridge(BRIDGE, "--", "add-port", BRIDGE, self._port)

    def _add_bridge(self, name: str, *more: str) -> None:
        # secure: no flow of its own accord, and no NORMAL forwarding; what meets no flow is dropped.
        settings = ("datapath_type=netdev", "fail_mode=secure")
        self._vsctl("add-br", name, "--", "set", "bridge", name, *settings, *more)

    def _daemon(self, name: str, *arguments: str) -> None:
        """Start a daemon in the foreground, wait until it answers on its control socket."""
        log = self._folder / f"{name}.log"
        control = self._folder / f"{name}.ctl"
        command = [name, *arguments, "--no-chdir", f"--unixctl={control}", "--verbose=console:off", f"--log-file={log}"]
        process = self._namespace.popen(*command, env=self._environment, stdin=subprocess.DEVNULL)
        self._processes.append(process)

        def answers() -> bool:
            assert process.poll() is None, f"{name} ended with {process.returncode}: {log.read_text()}"
            return control.exists()

        wait_until(answers, 20, f"{name} listens on {control}")

    @property
    def pids(self) -> list[int]:
        """Of both daemons."""
        return [process.pid for process in self._processes]

    def _run(self, *command: str) -> str:
        return self._namespace.run(*command, env=self._environment).stdout

    def _vsctl(self, *arguments: str) -> None:
        self._run("ovs-vsctl", f"--db={self._database}", "--timeout=20", *arguments)

    def _appctl(self, *arguments: str) -> str:
        return self._run("ovs-appctl", f"--target={self._folder}/ovs-vswitchd.ctl", "--timeout=20", *arguments)

    def sample_to(self, target: str, bridge: str = BRIDGE) -> None:
        """Sample every packet at input, with the tunnel it came by, cache its flow until `flush()`."""
        # enable-input-sampling stays away: in 3.1 "true" switches it off (mended by OVS commit 8e073791d, 3.2).
        tunnels = "other_config:enable-tunnel-sampling=true"
        row = (f'targets="{target}"', "sampling=1", "cache_active_timeout=4200", "cache_max_flows=1000000", tunnels)
        self._vsctl("--", "set", "bridge", bridge, "ipfix=@i", "--", "--id=@i", "create", "IPFIX", *row)

    def sample_rules(self, rules: Sequence[OvsRule], targets: Mapping[int, str], bridge: str = BRIDGE) -> None:
        """Sample by flows, each in a table of its own, so that all see every packet.

        Args:
            rules: the flows.
            targets: of each collector set; it caches flows until `flush_rules()`.
            bridge: whose packets.

        """
        for number, target in targets.items():
            ipfix = (f'targets="{target}"', "cache_active_timeout=4200", "cache_max_flows=1000000")
            row = (*ipfix, "other_config:enable-tunnel-sampling=true")
            named = ("--id=@b", "get", "Bridge", bridge, "--", "--id=@i", "create", "IPFIX", *row)
            self._vsctl(
                "--", *named, "--", "create", "Flow_Sample_Collector_Set", f"id={number}", "bridge=@b", "ipfix=@i"
            )
        self._ofctl("set-frags", bridge, RULES_FRAGMENTS)
        resubmit = ",".join(f"resubmit(,{table})" for table, _ in enumerate(rules, 1))
        flows = [f"table=0,actions={resubmit}"]
        for table, rule in enumerate(rules, 1):
            flows.append(f"table={table},{rule.match}{',' * bool(rule.match)}actions={rule.action}")
        path = self._folder / "flows"
        path.write_text("\n".join(flows) + "\n")
        self._ofctl("add-flows", bridge, str(path))

    def flows_of_rules(self, bridge: str = BRIDGE) -> int:
        """IPFIX flows that there were in the caches of all collector sets."""
        return sum(map(int, CREATED.findall(self._ofctl("dump-ipfix-flow", bridge))))

    def flush_rules(self) -> None:
        """End the collector sets: every flow in their caches is exported."""
        self._vsctl("--all", "destroy", "Flow_Sample_Collector_Set")

    def received(self) -> int:
        """Packets that the datapath has processed."""
        return sum(map(int, RECEIVED.findall(self._appctl("dpif-netdev/pmd-stats-show"))))

    def replay(self, sender: Namespace, link: str, frames: Sequence[bytes]) -> None:
        """Send the frames out of `link`, the port's peer, no faster than they are read: none is lost."""
        due = self.received()
        for chunk in _chunks(frames):
            due += len(chunk)
            send(sender, link, chunk)
            wait_until(lambda due=due: self.received() >= due, 30, "Open vSwitch reads what was sent")

    def _ofctl(self, command: str, bridge: str, *arguments: str) -> str:
        return self._run("ovs-ofctl", command, f"unix:{self._folder}/{bridge}.mgmt", *arguments)

    def sampled(self, bridge: str = BRIDGE) -> int:
        """Packets that were sampled; those of BFD are not."""
        return int(SAMPLED.findall(self._ofctl("dump-ipfix-bridge", bridge))[0])

    def flush(self, bridge: str = BRIDGE) -> None:
        """Stop sampling: every flow in the cache is exported, with the end "forced end" (4)."""
        self._vsctl("clear", "bridge", bridge, "ipfix")


def _chunks(frames: Iterable[bytes]) -> Iterator[list[bytes]]:
    """Frames in lists that the socket holds."""
    chunk: list[bytes] = []
    size = 0
    for frame in frames:
        if size > CHUNK:
            yield chunk
            chunk, size = [], 0
        chunk.append(frame)
        size += len(frame) + BUFFER
    yield chunk
