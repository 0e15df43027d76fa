/* Link types of captures: which part of a record is the frame that was on the wire. */
#include <pcap/dlt.h>
#include <string.h>

#include "linktype.h"

/*
 * LINKTYPE_IPV4 and LINKTYPE_IPV6 are the same numbers as DLT_; raw IP is 12 in files,
 * and DLT_RAW on this platform, which libpcap translates.
 */

/* BSD loopback: an address family in the capturing host's byte order (NULL), or the network's (LOOP). */
#define LOOPBACK_HEADER 4

/* Linux "cooked" headers, network byte order: the device's type, the packet's type, the sender, the ethertype. */
#define SLL_HEADER 16
#define SLL_PACKET_TYPE 0
#define SLL_DEVICE_TYPE 2
#define SLL_ADDRESS_LENGTH 4
#define SLL_ADDRESS 6
#define SLL_PROTOCOL 14
#define SLL2_HEADER 20
#define SLL2_PROTOCOL 0
#define SLL2_IFINDEX 4
#define SLL2_DEVICE_TYPE 8
#define SLL2_PACKET_TYPE 10
#define SLL2_ADDRESS_LENGTH 11
#define SLL2_ADDRESS 12

/* <linux/if_packet.h>, <linux/if_arp.h>, <linux/if_ether.h>: part of the file format. */
#define PACKET_OUTGOING 4
#define ARPHRD_ETHER 1
#define ARPHRD_LOOPBACK 772
#define ETHERTYPE_IPV4 0x0800
#define ETHERTYPE_IPV6 0x86dd
#define ETHERTYPE_MIN 0x0600

bool link_type_known(int link_type)
{
	switch (link_type) {
	case DLT_EN10MB:
	case DLT_RAW:
	case DLT_IPV4:
	case DLT_IPV6:
	case DLT_NULL:
	case DLT_LOOP:
	case DLT_LINUX_SLL:
	case DLT_LINUX_SLL2:
		return true;
	default:
		return false;
	}
}

static __u16 load16(const __u8 *from)
{
	return from[0] << 8 | from[1];
}

/* Leaves the link header out of the frame. */
static bool strip(struct link_frame *frame, __u32 size)
{
	if (frame->captured < size || frame->length < size) {
		frame->captured = 0;
		frame->length = 0;
		return false;
	}
	frame->bytes += size;
	frame->captured -= size;
	frame->length -= size;
	return true;
}

/*
 * A cooked header stands for the Ethernet header of most devices: put that back, with an
 * unknown destination, so that VLAN tags are parsed and octets count as on the wire.
 */
static void cook(struct link_frame *frame, const __u8 *address, __u8 address_length, __u16 device_type, __u16 protocol)
{
	bool ip = protocol == ETHERTYPE_IPV4 || protocol == ETHERTYPE_IPV6;

	if (ip && device_type != ARPHRD_ETHER && device_type != ARPHRD_LOOPBACK) {
		frame->l3 = true;
		return;
	}
	/* Values below say "no type": 802.3 with its length in this place. */
	if (protocol < ETHERTYPE_MIN)
		protocol = frame->length < ETHERTYPE_MIN ? frame->length : ETHERTYPE_MIN - 1;
	if (frame->captured > COOKED_OCTETS)
		frame->captured = COOKED_OCTETS;
	memset(frame->cooked, 0, COOKED_ETHERNET);
	if (address_length == 6)
		memcpy(frame->cooked + 6, address, 6);
	frame->cooked[12] = protocol >> 8;
	frame->cooked[13] = protocol & 0xff;
	memcpy(frame->cooked + COOKED_ETHERNET, frame->bytes, frame->captured);
	frame->bytes = frame->cooked;
	frame->captured += COOKED_ETHERNET;
	frame->length += COOKED_ETHERNET;
}

static void sll(const __u8 *header, struct link_frame *frame)
{
	if (!strip(frame, SLL_HEADER))
		return;
	frame->direction = load16(header + SLL_PACKET_TYPE) == PACKET_OUTGOING ? DIRECTION_EGRESS : DIRECTION_INGRESS;
	cook(frame, header + SLL_ADDRESS, load16(header + SLL_ADDRESS_LENGTH), load16(header + SLL_DEVICE_TYPE),
	     load16(header + SLL_PROTOCOL));
}

static void sll2(const __u8 *header, struct link_frame *frame)
{
	if (!strip(frame, SLL2_HEADER))
		return;
	frame->ifindex = (__u32)load16(header + SLL2_IFINDEX) << 16 | load16(header + SLL2_IFINDEX + 2);
	frame->direction = header[SLL2_PACKET_TYPE] == PACKET_OUTGOING ? DIRECTION_EGRESS : DIRECTION_INGRESS;
	cook(frame, header + SLL2_ADDRESS, header[SLL2_ADDRESS_LENGTH], load16(header + SLL2_DEVICE_TYPE),
	     load16(header + SLL2_PROTOCOL));
}

void link_frame(int link_type, const __u8 *record, __u32 captured, __u32 length, struct link_frame *out)
{
	out->bytes = record;
	/* Files exist that say they captured more than there was. */
	out->length = length;
	out->captured = captured < length ? captured : length;
	out->ifindex = 0;
	out->l3 = false;
	out->direction = DIRECTION_INGRESS;
	switch (link_type) {
	case DLT_EN10MB:
		break;
	case DLT_LINUX_SLL:
		sll(record, out);
		break;
	case DLT_LINUX_SLL2:
		sll2(record, out);
		break;
	case DLT_NULL:
	case DLT_LOOP:
		out->l3 = true;
		strip(out, LOOPBACK_HEADER);
		break;
	default:
		out->l3 = true;
		break;
	}
}
