/* Fuzzes messages of psample and what becomes of them (libFuzzer): octet 0 are options, the message follows. */
#include <errno.h>
#include <stdint.h>

#include "check.h"
#include "psample.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct psample_link links[] = {
		{ .ifindex = 2, .mtu = 1500 },
		{ .ifindex = 3, .l3 = 1 },
		{ .ifindex = 4, .tunnel_type = TUNNEL_VXLAN, .key_length = 3, .protocol = 17, .port = 4789 },
	};
	struct psample_view view = { .links = links, .link_count = 3 };
	struct psample_message message, before;
	struct psample_stats stats = { .messages = 0 };
	struct sample sample;
	__u8 *copy;
	int code;

	if (!size)
		return 0;
	view.direction = data[0] & 1 ? PSAMPLE_DIRECTION_INGRESS : PSAMPLE_DIRECTION_AUTO;
	view.ports = data[0] & 2 ? tunnel_ports() : NULL;
	size--;
	/* In memory of its own, so that the address sanitizer sees a read behind its last octet. */
	copy = malloc(size ? size : 1);
	memcpy(copy, data + 1, size);
	memset(&message, 0xff, sizeof(message));
	memcpy(&before, &message, sizeof(before));
	code = psample_decode(copy, size, &message);
	if (code) {
		CHECK((code == -ENOMSG || code == -EBADMSG) && !memcmp(&message, &before, sizeof(before)));
		free(copy);
		return 0;
	}
	CHECK(message.has_group && message.rate && message.captured <= message.length);
	CHECK(!message.captured || (message.data > copy && message.data + message.captured <= copy + size));
	CHECK(!message.cookie_length || (message.cookie > copy && message.cookie + message.cookie_length <= copy + size));
	psample_describe(&view, &message, &sample, &stats);
	CHECK(sample.meta.packets == 1 && sample.key.direction <= DIRECTION_EGRESS && stats.super_packets <= 1);
	CHECK(sample.key.ifindex == message.ingress_ifindex || sample.key.ifindex == message.egress_ifindex);
	CHECK(!sample.key.tunnel.type || (view.ports && sample.key.tunnel.ip_version));
	CHECK(sample.key.tunnel.type || !sample.key.tunnel.ip_version);
	free(copy);
	return 0;
}
