"""IPsec over GRE: messages of Linux and iproute2 to policies and states, and which of those protect a tunnel netdev."""

from dataclasses import replace
from ipaddress import ip_address, ip_network
from typing import Any

import pytest

from lib.recorded import decoded
from sampler.tunnels.security import event_of
from sampler.tunnels.securitytable import (
    POLICY_IN,
    POLICY_OUT,
    Flow,
    Policy,
    PolicyGone,
    PolicySeen,
    Replaced,
    SecurityTable,
    Selector,
    State,
    StateGone,
    StateSeen,
    StatesFlushed,
)

A, B = ip_address("192.0.2.1"), ip_address("192.0.2.2")
NET_A, NET_B = ip_network("192.0.2.1/32"), ip_network("192.0.2.2/32")
TCP, GRE = 6, 47
OUT = "ip xfrm policy add src 192.0.2.1/32 dst 192.0.2.2/32 proto gre dir out "
GRE_OUT = OUT + "tmpl src 192.0.2.1 dst 192.0.2.2 proto esp reqid 7 mode transport"
STATE = "ip xfrm state add src 192.0.2.1 dst 192.0.2.2 proto esp spi 0x1001 mode transport enc aes 0x00 auth sha1 0x00"


def test_policies() -> None:
    selector = Selector(NET_A, NET_B, GRE)
    assert event_of(decoded(GRE_OUT)) == PolicySeen(Policy(1, POLICY_OUT, selector, required=True))
    updated = (
        "ip xfrm policy update src 192.0.2.1/32 dst 192.0.2.2/32 proto gre dir out priority 5 "
        "tmpl src 192.0.2.1 dst 192.0.2.2 proto esp reqid 7 mode transport level use"
    )
    assert event_of(decoded(updated)) == PolicySeen(Policy(1, POLICY_OUT, selector, priority=5, optional=True))
    deleted = "ip xfrm policy delete src 192.0.2.1/32 dst 192.0.2.2/32 proto gre dir out"
    assert event_of(decoded(deleted)) == PolicyGone(1)
    blocked = "ip xfrm policy add src 192.0.2.2/32 dst 192.0.2.1/32 proto gre key 4660 dir in action block"
    narrow = Selector(NET_B, NET_A, GRE, sport=0, dport=4660, sport_mask=0xFFFF, dport_mask=0xFFFF)
    assert event_of(decoded(blocked)) == PolicySeen(Policy(8, POLICY_IN, narrow))
    wide = "ip xfrm policy add src 2001:db8::/64 dst 2001:db8:1::2/128 dir in tmpl proto ah mode transport"
    networks = ip_network("2001:db8::/64"), ip_network("2001:db8:1::2/128")
    assert event_of(decoded(wide)) == PolicySeen(Policy(16, POLICY_IN, Selector(*networks), required=True))
    assert event_of(decoded("ip xfrm policy flush")) == Replaced(policies=())


def test_policies_of_marked_packets_of_xfrm_interfaces_and_sub_policies_are_left_out() -> None:
    for option, index in (("if_id 9 ", 25), ("mark 5 ", 33)):
        # Not None: it may have been another before it was changed.
        assert event_of(decoded(f"{OUT}{option}tmpl proto esp mode transport")) == PolicyGone(index)
    assert event_of(decoded(f"{OUT}ptype sub tmpl proto esp mode transport")) is None
    assert event_of(decoded("ip xfrm policy flush ptype sub")) is None


def seen(command: str) -> State:
    event = event_of(decoded(command))
    assert isinstance(event, StateSeen)
    return event.state


def test_states() -> None:
    state = seen(STATE)
    assert (state.protocol, state.pair, state.selector.protocol) == (50, (A, B), 0)
    state = seen(
        "ip xfrm state add src 192.0.2.2 dst 192.0.2.1 proto esp spi 0x1002 mode transport sel proto gre enc aes 0x00"
    )
    assert (state.pair, state.selector.protocol) == ((B, A), GRE)
    state = seen("ip xfrm state add src 2001:db8::1 dst 2001:db8::2 proto ah spi 0x1003 mode tunnel auth sha1 0x00")
    assert (state.protocol, state.pair) == (51, (ip_address("2001:db8::1"), ip_address("2001:db8::2")))


def test_a_state_is_gone_by_the_identity_it_came_with() -> None:
    larval = "src 192.0.2.1 dst 192.0.2.2 proto esp mode transport reqid 5 min 0x100 max 0x100"
    # A place that a key exchange holds, without key: it protects nothing.
    before = event_of(decoded(f"dump after: ip xfrm state allocspi {larval}"))
    after = event_of(decoded("ip xfrm state delete src 192.0.2.1 dst 192.0.2.2 proto esp spi 0x100"))
    assert isinstance(before, StateGone)
    assert before == after
    marked = (
        "ip xfrm state add src 192.0.2.1 dst 192.0.2.2 proto esp spi 0x1004 mode transport mark 5 mask 0xff "
        "aead rfc4106(gcm(aes)) 0x00 128"
    )
    event = event_of(decoded(marked))
    assert isinstance(event, StateGone)
    assert event.identity[-2:] == (5, 0xFF)
    other = "ip xfrm state add src 192.0.2.1 dst 192.0.2.2 proto esp spi 0x1005 mode transport if_id 9 enc aes 0x00"
    assert isinstance(event_of(decoded(other)), StateGone)
    assert event_of(decoded("ip xfrm state flush proto esp")) == StatesFlushed(50)


def expired(command: str, kind: int, hard: int) -> Any:
    """What the kernel says at the end of a lifetime: the same, and whether it is the hard limit."""
    message = decoded(command)
    message["header"]["type"], message["hard"] = kind, hard
    return event_of(message)


def test_what_reaches_its_lifetime_is_gone_at_the_hard_limit_only() -> None:
    assert expired(STATE, 0x18, 0) is None
    assert expired(STATE, 0x18, 1) == StateGone(seen(STATE).identity)
    assert expired(GRE_OUT, 0x1B, 0) is None
    assert expired(GRE_OUT, 0x1B, 1) == PolicyGone(1)


def sent(key: int = 0, ifindex: int = 0) -> Flow:
    return Flow((A, B), key, ifindex)


def received(key: int = 0, ifindex: int = 0) -> Flow:
    return Flow((B, A), key, ifindex)


def protects(*events: Any, key: int = 0, ifindex: int = 0) -> bool:
    table = SecurityTable()
    for event in events:
        table.apply(event)
    return table.protects(sent(key, ifindex), received(key, ifindex))


def policy(protocol: int = GRE, index: int = 1, **options: Any) -> PolicySeen:
    direction = options.pop("direction", POLICY_OUT)
    networks = (NET_A, NET_B) if direction == POLICY_OUT else (NET_B, NET_A)
    selected = {name: options.pop(name) for name in list(options) if name in Selector.__dataclass_fields__}
    selector = replace(Selector(*networks, protocol), **selected)
    return PolicySeen(Policy(index, direction, selector, **({"required": True} | options)))


def state(protocol: int = 0, pair: tuple[Any, Any] = (B, A), number: int = 1) -> StateSeen:
    return StateSeen(State((number,), 50, pair, Selector(None, None, protocol)))


def test_a_policy_for_gre_or_for_everything_covers_gre() -> None:
    assert protects(policy(GRE))
    assert protects(policy(0))
    assert protects(policy(GRE, direction=POLICY_IN))
    assert protects(policy(0, source=ip_network("192.0.2.0/24"), destination=ip_network("0.0.0.0/0")))
    assert not protects()


def test_a_policy_for_other_traffic_between_the_same_hosts_does_not() -> None:
    assert not protects(policy(TCP))
    # strongSwan's states name no protocol: those of the policy for TCP are no sign of protected GRE.
    assert not protects(
        policy(TCP), policy(TCP, 2, direction=POLICY_IN), state(pair=(A, B)), state(pair=(B, A), number=2)
    )


def test_a_policy_between_other_hosts_does_not() -> None:
    assert not protects(policy(0, destination=ip_network("192.0.2.3/32")))
    assert not protects(policy(0, source=ip_network("::/0"), destination=ip_network("::/0")))
    assert not protects(PolicySeen(Policy(1, POLICY_OUT, Selector(NET_B, NET_A, GRE), required=True)))


@pytest.mark.parametrize("key", [0x00120034, 0x00120035])
def test_the_ports_of_a_selector_are_the_halves_of_the_gre_key(key: int) -> None:
    narrow = policy(GRE, sport=0x12, sport_mask=0xFFFF, dport=0x34, dport_mask=0xFFFF)
    assert protects(narrow, key=key) == (key == 0x00120034)


def test_a_policy_of_an_interface_counts_on_that_one_below() -> None:
    assert protects(policy(GRE, ifindex=3), ifindex=3)
    assert not protects(policy(GRE, ifindex=3), ifindex=4)
    assert not protects(policy(GRE, ifindex=3), ifindex=0)


def test_of_several_policies_the_kernel_follows_the_smallest_priority() -> None:
    passes = policy(GRE, 2, required=False)
    assert not protects(policy(0, priority=10), replace(passes, policy=replace(passes.policy, priority=5)))
    assert protects(policy(0, priority=10), replace(passes, policy=replace(passes.policy, priority=15)))


def test_an_optional_template_covers_while_there_is_a_state() -> None:
    use = policy(GRE, required=False, optional=True)
    assert not protects(use)
    assert protects(use, state(pair=(A, B)))


def test_a_state_alone_covers_what_comes_by_it() -> None:
    assert protects(state(GRE))
    assert protects(state(0))
    assert not protects(state(TCP))
    assert not protects(state(GRE, pair=(A, B)))  # without policy nothing is sent into it
    assert protects(policy(TCP, direction=POLICY_IN), state(GRE))


def test_what_goes_protects_no_longer() -> None:
    table = SecurityTable()

    def covered() -> bool:
        return table.protects(sent(), received())

    assert table.apply(policy(GRE)) == {(A, B)}
    assert covered()
    assert table.apply(policy(GRE, required=False)) == {(A, B)}
    assert not covered()
    table.apply(policy(GRE))
    assert table.apply(PolicyGone(1)) == {(A, B)}
    assert table.apply(PolicyGone(1)) == set()
    assert not covered()
    assert table.apply(policy(0, source=ip_network("192.0.2.0/24"))) is None
    assert table.apply(Replaced(policies=())) is None
    assert not covered()
    assert table.apply(state(GRE)) == {(B, A)}
    assert table.apply(StatesFlushed(51)) == set()
    assert covered()
    assert table.apply(StatesFlushed(50)) == {(B, A)}
    assert not covered()
    table.apply(state(GRE))
    assert table.apply(StateGone((1,))) == {(B, A)}
    assert not covered()
    table.apply(Replaced((policy(GRE).policy,), (state(GRE).state,)))
    assert covered()
    table.apply(Replaced((), ()))
    assert not covered()
