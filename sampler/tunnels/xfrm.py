"""The messages of NETLINK_XFRM that tell of policies and states, which pyroute2 lacks.

Declarations like pyroute2's own, by <linux/xfrm.h>; of the attributes those that we read. What they mean is read in
sampler.tunnels.security.
Keys of states pass through the process in a dump; nothing here looks at them.
"""

from pyroute2.netlink import nla, nlmsg
from pyroute2.netlink.marshal import Marshal
from pyroute2.netlink.nlsocket import AsyncNetlinkSocket

NETLINK_XFRM = 6
# Multicast groups, enum xfrm_nlgroups. A policy or state whose time is up is told of by `expire` alone.
XFRMNLGRP_EXPIRE, XFRMNLGRP_SA, XFRMNLGRP_POLICY = 2, 3, 4

XFRM_MSG_NEWSA, XFRM_MSG_DELSA, XFRM_MSG_GETSA = 0x10, 0x11, 0x12
XFRM_MSG_NEWPOLICY, XFRM_MSG_DELPOLICY, XFRM_MSG_GETPOLICY = 0x13, 0x14, 0x15
XFRM_MSG_EXPIRE, XFRM_MSG_UPDPOLICY, XFRM_MSG_UPDSA, XFRM_MSG_POLEXPIRE = 0x18, 0x19, 0x1A, 0x1B
XFRM_MSG_FLUSHSA, XFRM_MSG_FLUSHPOLICY = 0x1C, 0x1D

XFRM_POLICY_TYPE_MAIN = 0
XFRM_POLICY_ALLOW = 0
XFRM_MODE_TRANSPORT, XFRM_MODE_TUNNEL = 0, 1
IPSEC_PROTO_ANY = (0, 255)
PROTOCOLS = (50, 51)  # ESP, AH
ALGORITHMS = ("XFRMA_ALG_AUTH", "XFRMA_ALG_CRYPT", "XFRMA_ALG_AEAD", "XFRMA_ALG_AUTH_TRUNC")

_SELECTOR = (
    ("sel_daddr", "16s"),
    ("sel_saddr", "16s"),
    ("sel_dport", ">H"),
    ("sel_dport_mask", ">H"),
    ("sel_sport", ">H"),
    ("sel_sport_mask", ">H"),
    ("sel_family", "H"),
    ("sel_prefixlen_d", "B"),
    ("sel_prefixlen_s", "B"),
    ("sel_proto", "B"),
    ("__pad_proto", "3x"),
    ("sel_ifindex", "i"),
    ("sel_user", "I"),
)
_LIFETIMES = (("lft", "64s"), ("curlft", "32s"))
_USERSA_INFO = (
    *_SELECTOR,
    ("daddr", "16s"),
    ("spi", ">I"),
    ("proto", "B"),
    ("__pad_id", "3x"),
    ("saddr", "16s"),
    *_LIFETIMES,
    ("stats", "12s"),
    ("seq", "I"),
    ("reqid", "I"),
    ("family", "H"),
    ("mode", "B"),
    ("replay_window", "B"),
    ("flags", "B"),
    ("__pad_end", "7x"),
)
_USERPOLICY_INFO = (
    *_SELECTOR,
    *_LIFETIMES,
    ("priority", "I"),
    ("index", "I"),
    ("dir", "B"),
    ("action", "B"),
    ("flags", "B"),
    ("share", "B"),
    ("__pad_end", "4x"),
)


class xfrm_templates(nla):
    """XFRMA_TMPL: an array of struct xfrm_user_tmpl. Its value: (protocol, optional) of each."""

    fields = (("value", "s"),)
    SIZE = 64
    PROTOCOL, OPTIONAL = 20, 50  # offsets of id.proto and optional

    def decode(self) -> None:
        """Take the array apart."""
        octets = bytes(self.data[self.offset + 4 : self.offset + self.length])
        starts = range(0, len(octets) - self.SIZE + 1, self.SIZE)
        self.value = [(octets[start + self.PROTOCOL], bool(octets[start + self.OPTIONAL])) for start in starts]
        self.decoded = True


class xfrm_attributes:
    """The attributes of all messages."""

    prefix = "XFRMA_"
    nla_map = (
        (1, "XFRMA_ALG_AUTH", "none"),
        (2, "XFRMA_ALG_CRYPT", "none"),
        (5, "XFRMA_TMPL", "templates"),
        (6, "XFRMA_SA", "usersa"),
        (7, "XFRMA_POLICY", "userpolicy"),
        (16, "XFRMA_POLICY_TYPE", "uint8"),
        (18, "XFRMA_ALG_AEAD", "none"),
        (20, "XFRMA_ALG_AUTH_TRUNC", "none"),
        (21, "XFRMA_MARK", "mark"),
        (31, "XFRMA_IF_ID", "uint32"),
    )
    templates = xfrm_templates

    class usersa(nla):
        """XFRMA_SA: struct xfrm_usersa_info."""

        fields = _USERSA_INFO

    class userpolicy(nla):
        """XFRMA_POLICY: struct xfrm_userpolicy_info."""

        fields = _USERPOLICY_INFO

    class mark(nla):
        """XFRMA_MARK: struct xfrm_mark."""

        fields = (("v", "I"), ("m", "I"))


class usersa_info(xfrm_attributes, nlmsg):
    """XFRM_MSG_NEWSA, XFRM_MSG_UPDSA."""

    fields = _USERSA_INFO


class usersa_id(xfrm_attributes, nlmsg):
    """XFRM_MSG_DELSA."""

    fields = (("daddr", "16s"), ("spi", ">I"), ("family", "H"), ("proto", "B"), ("__pad_end", "x"))


class user_expire(xfrm_attributes, nlmsg):
    """XFRM_MSG_EXPIRE."""

    fields = (*_USERSA_INFO, ("hard", "B"), ("__pad_hard", "7x"))


class usersa_flush(xfrm_attributes, nlmsg):
    """XFRM_MSG_FLUSHSA."""

    fields = (("proto", "B"), ("__pad_end", "3x"))


class userpolicy_info(xfrm_attributes, nlmsg):
    """XFRM_MSG_NEWPOLICY, XFRM_MSG_UPDPOLICY."""

    fields = _USERPOLICY_INFO


class userpolicy_id(xfrm_attributes, nlmsg):
    """XFRM_MSG_DELPOLICY."""

    fields = (*_SELECTOR, ("index", "I"), ("dir", "B"), ("__pad_end", "3x"))


class user_polexpire(xfrm_attributes, nlmsg):
    """XFRM_MSG_POLEXPIRE."""

    fields = (*_USERPOLICY_INFO, ("hard", "B"), ("__pad_hard", "7x"))


class policy_flush(xfrm_attributes, nlmsg):
    """XFRM_MSG_FLUSHPOLICY, which has attributes only; and an empty request."""

    fields = ()


class MarshalXfrm(Marshal):
    """Finds the class of a message."""

    msg_map = {  # noqa: RUF012 - pyroute2 copies it for each socket
        XFRM_MSG_NEWSA: usersa_info,
        XFRM_MSG_UPDSA: usersa_info,
        XFRM_MSG_DELSA: usersa_id,
        XFRM_MSG_EXPIRE: user_expire,
        XFRM_MSG_FLUSHSA: usersa_flush,
        XFRM_MSG_NEWPOLICY: userpolicy_info,
        XFRM_MSG_UPDPOLICY: userpolicy_info,
        XFRM_MSG_DELPOLICY: userpolicy_id,
        XFRM_MSG_POLEXPIRE: user_polexpire,
        XFRM_MSG_FLUSHPOLICY: policy_flush,
    }


class AsyncXfrmSocket(AsyncNetlinkSocket):
    """A socket of NETLINK_XFRM."""

    marshal_class = MarshalXfrm

    def __init__(self, rcvbuf: int) -> None:
        super().__init__(family=NETLINK_XFRM, rcvbuf=rcvbuf)
