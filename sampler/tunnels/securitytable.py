"""IPsec policies and states (XFRM), as a pure reducer: events in, touched endpoints out; no I/O.

It answers one question: does IPsec protect the GRE packets between two addresses?
sampler.tunnels.security feeds it from netlink, sampler.tunnels.tunneltable asks.
"""

import ipaddress
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

from sampler.tunnels.tunnel import PROTOCOL_GRE, Address

Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network
Pair: TypeAlias = tuple[Address, Address]
"""Source and destination."""

POLICY_IN, POLICY_OUT = 0, 1
ANY_PROTOCOL = 0


@dataclass(frozen=True)
class Selector:
    """Which packets: struct xfrm_selector.

    Attributes:
        source: prefix of source addresses; None for any, of either family.
        destination: likewise.
        protocol: IP protocol; 0 for any.
        sport: source port, of GRE the upper half of the key.
        dport: destination port, of GRE the lower half of the key.
        sport_mask: 0 for any port.
        dport_mask: likewise.
        ifindex: interface that the packet leaves or comes by; 0 for any.

    """

    source: Network | None = None
    destination: Network | None = None
    protocol: int = ANY_PROTOCOL
    sport: int = 0
    dport: int = 0
    sport_mask: int = 0
    dport_mask: int = 0
    ifindex: int = 0

    def between(self, pair: Pair) -> bool:
        """Whether it is about packets from the one address to the other at all."""
        return _contains(self.source, pair[0]) and _contains(self.destination, pair[1])

    def selects(self, flow: "Flow") -> bool:
        """Whether it takes these GRE packets. One that is bound to an interface that we cannot tell takes none."""
        return (
            self.between(flow.pair)
            and self.protocol in (ANY_PROTOCOL, PROTOCOL_GRE)
            and not (flow.key >> 16 ^ self.sport) & self.sport_mask
            and not (flow.key & 0xFFFF ^ self.dport) & self.dport_mask
            and self.ifindex in (0, flow.ifindex)
        )

    @property
    def hosts(self) -> Pair | None:
        """The two addresses, where it names two single hosts."""
        if self.source is None or self.destination is None:
            return None
        if self.source.prefixlen < self.source.max_prefixlen:
            return None
        if self.destination.prefixlen < self.destination.max_prefixlen:
            return None
        return self.source.network_address, self.destination.network_address


@dataclass(frozen=True)
class Flow:
    """The GRE packets of a tunnel netdev in one direction: addresses, key, and the interface below or 0."""

    pair: Pair
    key: int
    ifindex: int


@dataclass(frozen=True)
class Policy:
    """What is done with packets of one direction: struct xfrm_userpolicy_info and its templates.

    Attributes:
        index: its number in the kernel.
        direction: POLICY_IN or POLICY_OUT.
        selector: which packets.
        priority: the smallest of those that match is followed.
        required: it lets packets pass by ESP or AH only.
        optional: by ESP or AH where there is a state, else plain ("level use").

    """

    index: int
    direction: int
    selector: Selector
    priority: int = 0
    required: bool = False
    optional: bool = False


@dataclass(frozen=True)
class State:
    """A security association that is ready: struct xfrm_usersa_info of ESP or AH.

    Attributes:
        identity: what the kernel knows it by: address family, destination, SPI, protocol, mark.
        protocol: 50 (ESP) or 51 (AH).
        pair: its endpoints.
        selector: which packets it takes.

    """

    identity: tuple[object, ...]
    protocol: int
    pair: Pair
    selector: Selector


@dataclass(frozen=True)
class PolicySeen:
    """Event: the policy is there, new or changed."""

    policy: Policy


@dataclass(frozen=True)
class PolicyGone:
    """Event: it was deleted, or its time is up."""

    index: int


@dataclass(frozen=True)
class StateSeen:
    """Event: the state is there, new or changed."""

    state: State


@dataclass(frozen=True)
class StateGone:
    """Event: it was deleted, or its time is up."""

    identity: tuple[object, ...]


@dataclass(frozen=True)
class StatesFlushed:
    """Event: all states of a protocol were deleted; 0: of all protocols."""

    protocol: int = 0


@dataclass(frozen=True)
class Replaced:
    """Event: these are all that there are (a dump, a flush of the policies); None: those are as before."""

    policies: tuple[Policy, ...] | None = None
    states: tuple[State, ...] | None = None


SecurityEvent: TypeAlias = PolicySeen | PolicyGone | StateSeen | StateGone | StatesFlushed | Replaced


class SecurityTable:
    """Keeps policies by index and states by identity. Not thread-safe."""

    def __init__(self) -> None:
        self._policies: dict[int, Policy] = {}
        self._states: dict[tuple[object, ...], State] = {}
        # A hub has thousands of policies from host to host; those are found by their hosts.
        self._by_hosts: dict[Pair | None, dict[int, Policy]] = {}
        self._by_pair: dict[Pair, dict[tuple[object, ...], State]] = {}

    def apply(self, event: SecurityEvent) -> set[Pair] | None:
        """Take the event in; give the endpoints whose protection it may have changed, None where all may."""
        if isinstance(event, StateSeen):
            touched = self._drop_state(event.state.identity) | {event.state.pair}
            self._put_state(event.state)
            return touched
        if isinstance(event, StateGone):
            return self._drop_state(event.identity)
        if isinstance(event, PolicySeen):
            before = self._drop_policy(event.policy.index)
            self._put_policy(event.policy)
            hosts = event.policy.selector.hosts
            return None if before is None or hosts is None else before | {hosts}
        if isinstance(event, PolicyGone):
            return self._drop_policy(event.index)
        if isinstance(event, StatesFlushed):
            flushed = [state for state in self._states.values() if event.protocol in (0, state.protocol)]
            for state in flushed:
                self._drop_state(state.identity)
            return {state.pair for state in flushed}
        if event.policies is not None:
            self._policies, self._by_hosts = {}, {}
            for policy in event.policies:
                self._put_policy(policy)
        if event.states is not None:
            self._states, self._by_pair = {}, {}
            for state in event.states:
                self._put_state(state)
        return None

    def _put_policy(self, policy: Policy) -> None:
        self._policies[policy.index] = policy
        self._by_hosts.setdefault(policy.selector.hosts, {})[policy.index] = policy

    def _drop_policy(self, index: int) -> set[Pair] | None:
        policy = self._policies.pop(index, None)
        if policy is None:
            return set()
        hosts = policy.selector.hosts
        del self._by_hosts[hosts][index]
        if not self._by_hosts[hosts]:
            del self._by_hosts[hosts]
        return None if hosts is None else {hosts}

    def _put_state(self, state: State) -> None:
        self._states[state.identity] = state
        self._by_pair.setdefault(state.pair, {})[state.identity] = state

    def _drop_state(self, identity: tuple[object, ...]) -> set[Pair]:
        state = self._states.pop(identity, None)
        if state is None:
            return set()
        del self._by_pair[state.pair][identity]
        if not self._by_pair[state.pair]:
            del self._by_pair[state.pair]
        return {state.pair}

    def protects(self, sent: Flow, received: Flow) -> bool:
        """Whether IPsec covers the GRE packets of a netdev, those that it sends or those that it receives.

        A policy covers them when it is the one that the kernel follows, of all that select
        them, and it demands ESP or AH. One for another protocol between the same hosts
        does not select them, and one that lets GRE pass plain stands before a wider one.

        Without such a policy nothing is sent into a state, but what comes by one is taken.
        So a state covers what the netdev receives, when its selector names GRE. One without
        a protocol takes what the other side's policy sends into it: strongSwan makes all
        its states so, those for TCP alone too. It covers GRE only where no policy here is
        about these hosts in that direction.
        """
        return self._covers(sent, POLICY_OUT) or self._covers(received, POLICY_IN)

    def _covers(self, flow: Flow, direction: int) -> bool:
        about = [policy for policy in self._about(flow.pair) if policy.direction == direction]
        selecting = (policy for policy in about if policy.selector.selects(flow))
        policy = min(selecting, key=lambda policy: (policy.priority, policy.index), default=None)
        states = [state for state in self._by_pair.get(flow.pair, {}).values() if state.selector.selects(flow)]
        if policy is not None:
            return policy.required or (policy.optional and bool(states))
        return direction == POLICY_IN and any(state.selector.protocol == PROTOCOL_GRE or not about for state in states)

    def _about(self, pair: Pair) -> Iterator[Policy]:
        candidates: Iterable[Policy] = (*self._by_hosts.get(pair, {}).values(), *self._by_hosts.get(None, {}).values())
        return (policy for policy in candidates if policy.selector.between(pair))


def _contains(network: Network | None, address: Address) -> bool:
    return network is None or (network.version == address.version and address in network)
