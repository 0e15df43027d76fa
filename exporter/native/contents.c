/* What the flow records of a message hold, read back by their templates. */
#include <errno.h>

#include "contents.h"

static inline __u32 get16(const __u8 *from)
{
	return (__u32)from[0] << 8 | from[1];
}

static __u64 get_uint(const __u8 *from, __u32 length)
{
	__u64 value = 0;

	while (length--)
		value = value << 8 | *from++;
	return value;
}

static const struct contents_template *find(const struct contents_template *templates, unsigned int count, __u32 id)
{
	unsigned int low = 0, high = count;

	while (low < high) {
		unsigned int middle = (low + high) / 2;

		if (templates[middle].id < id)
			low = middle + 1;
		else
			high = middle;
	}
	return low < count && templates[low].id == id ? &templates[low] : NULL;
}

/* One record at `at`; returns the octet behind it, 0 where it does not end before `end`. */
static __u32 add_record(const struct contents_template *template, const __u8 *message, __u32 at, __u32 end,
			struct contents *contents)
{
	for (__u32 i = 0; i < template->field_count; i++) {
		__u32 length = template->lengths[i];

		if (length == FIELD_VARIABLE) {
			if (at >= end)
				return 0;
			length = message[at++];
			if (length == FIELD_LONG) {
				if (end - at < 2)
					return 0;
				length = get16(message + at);
				at += 2;
			}
		}
		if (length > end - at)
			return 0;
		if (i == template->packets)
			contents->packets += get_uint(message + at, length);
		if (i == template->octets)
			contents->octets += get_uint(message + at, length);
		at += length;
	}
	contents->flows++;
	return at;
}

int message_contents(const struct contents_template *templates, unsigned int count, const __u8 *message, __u32 length,
		  struct contents *contents)
{
	__u32 at = MESSAGE_HEADER_SIZE;

	*contents = (struct contents){ 0 };
	if (length < MESSAGE_HEADER_SIZE)
		return -EINVAL;
	contents->export_time = get_uint(message + 4, 4);
	contents->domain = get_uint(message + 12, 4);
	while (at < length) {
		const struct contents_template *template;
		__u32 end;

		if (length - at < SET_HEADER_SIZE)
			return -EINVAL;
		end = at + get16(message + at + 2);
		if (end < at + SET_HEADER_SIZE || end > length)
			return -EINVAL;
		template = find(templates, count, get16(message + at));
		at += SET_HEADER_SIZE;
		while (template && template->field_count && at < end) {
			at = add_record(template, message, at, end, contents);
			if (!at)
				return -EINVAL;
		}
		at = end;
	}
	return 0;
}
