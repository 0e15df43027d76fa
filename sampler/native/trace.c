/* Foreign BPF programs: what tracing programs on them need to know, of the program's BTF and the kernel's. */
#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <errno.h>
#include <linux/bpf.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

#include "trace.h"

int trace_open(__u32 program_id)
{
	int fd = bpf_prog_get_fd_by_id(program_id);

	return fd < 0 ? -errno : fd;
}

/* The struct that a pointer's type points to, or NULL. */
static const struct btf_type *pointed_struct(const struct btf *btf, __u32 id)
{
	const struct btf_type *type = btf__type_by_id(btf, btf__resolve_type(btf, id));

	if (!type || !btf_is_ptr(type))
		return NULL;
	type = btf__type_by_id(btf, btf__resolve_type(btf, type->type));
	return type && btf_is_struct(type) ? type : NULL;
}

/* The kernel tells tracing programs that this is its struct xdp_buff by the name of the type alone. */
static bool takes_xdp(const struct btf *btf, const struct btf_type *function)
{
	const struct btf_type *prototype = btf__type_by_id(btf, function->type), *context;

	if (btf_vlen(prototype) != 1)
		return false;
	context = pointed_struct(btf, btf_params(prototype)->type);
	return context && !strcmp(btf__name_by_offset(btf, context->name_off), "xdp_md");
}

static int describe_function(const struct btf *btf, __u32 id, struct trace_target *target)
{
	const struct btf_type *function = btf__type_by_id(btf, id);
	const char *name;

	if (!function || !btf_is_func(function))
		return -ENODATA;
	if (!takes_xdp(btf, function))
		return -EPROTOTYPE;
	name = btf__name_by_offset(btf, function->name_off);
	/* libbpf finds it by its name alone. */
	if (strlen(name) >= sizeof(target->name) || btf__find_by_name_kind(btf, name, BTF_KIND_FUNC) != (__s32)id)
		return -ENOTUNIQ;
	strcpy(target->name, name);
	target->function = id;
	return 0;
}

int trace_describe(int program, struct trace_target *target)
{
	struct bpf_func_info function = {0};
	struct bpf_prog_info info = {0};
	__u32 size = sizeof(info);
	struct btf *btf;
	int err;

	/* One of its functions, the first: the main one. bpf_prog_info has a name as well, of 15 characters at most. */
	info.func_info = (__u64)(unsigned long)&function;
	info.func_info_rec_size = sizeof(function);
	info.nr_func_info = 1;
	if (bpf_obj_get_info_by_fd(program, &info, &size))
		return -errno;
	if (!info.jited_prog_len)
		return -ENOEXEC;
	if (!info.btf_id || !info.nr_func_info)
		return -ENODATA;
	btf = btf__load_from_kernel_by_id(info.btf_id);
	if (!btf)
		return -errno;
	target->id = info.id;
	err = describe_function(btf, function.type_id, target);
	btf__free(btf);
	return err;
}

/* The program of a link where that extends this function, else 0; or -errno. */
static int extension_of(__u32 link_id, __u32 program_id, __u32 function)
{
	struct bpf_link_info info = {0};
	__u32 size = sizeof(info);
	int fd = bpf_link_get_fd_by_id(link_id), err;

	/* It may have gone meanwhile. */
	if (fd < 0)
		return errno == ENOENT ? 0 : -errno;
	err = bpf_obj_get_info_by_fd(fd, &info, &size) ? -errno : 0;
	close(fd);
	if (err || info.type != BPF_LINK_TYPE_TRACING || info.tracing.target_obj_id != program_id ||
	    info.tracing.target_btf_id != function)
		return err;
	/* Tracing programs that others have attached there say so; extensions have no attach type, which reads as 0. */
	return info.tracing.attach_type ? 0 : trace_open(info.prog_id);
}

int trace_extension(int program, __u32 function)
{
	struct bpf_prog_info info = {0};
	__u32 size = sizeof(info), link = 0;
	int found;

	if (bpf_obj_get_info_by_fd(program, &info, &size))
		return -errno;
	while (!bpf_link_get_next_id(link, &link)) {
		found = extension_of(link, info.id, function);
		if (found)
			return found;
	}
	return errno == ENOENT ? 0 : -errno;
}

/* Octets in front of a member, which may be one of an anonymous struct or union; or -ESRCH. */
static int member_offset(const struct btf *btf, const struct btf_type *type, const char *name)
{
	const struct btf_member *member = btf_members(type);
	const struct btf_type *inside;
	int i, offset;

	for (i = 0; i < btf_vlen(type); i++, member++) {
		if (!strcmp(btf__name_by_offset(btf, member->name_off), name))
			return (int)btf_member_bit_offset(type, i) / 8;
		if (member->name_off)
			continue;
		inside = btf__type_by_id(btf, btf__resolve_type(btf, member->type));
		if (!inside || !btf_is_composite(inside))
			continue;
		offset = member_offset(btf, inside, name);
		if (offset >= 0)
			return offset + (int)btf_member_bit_offset(type, i) / 8;
	}
	return -ESRCH;
}

/* The offset of a struct's member into `to`. */
static int probe_offset(const struct btf *btf, const char *structure, const char *member, __u32 *to)
{
	__s32 id = btf__find_by_name_kind(btf, structure, BTF_KIND_STRUCT);
	int offset;

	if (id < 0)
		return -ESRCH;
	offset = member_offset(btf, btf__type_by_id(btf, id), member);
	if (offset < 0)
		return offset;
	*to = offset;
	return 0;
}

int trace_probe_offsets(struct kernel_features *features)
{
	const struct {
		const char *structure, *member;
		__u32 *to;
	} wanted[] = {
		{"xdp_buff", "data", &features->frame_data},
		{"xdp_buff", "data_end", &features->frame_end},
		{"xdp_buff", "rxq", &features->frame_queue},
		{"xdp_rxq_info", "dev", &features->queue_device},
		{"net_device", "ifindex", &features->device_ifindex},
		/* possible_net_t, whose only member is the pointer. */
		{"net_device", "nd_net", &features->device_namespace},
		{"net", "ns", &features->namespace_number},
	};
	struct btf *btf = btf__load_vmlinux_btf();
	__u32 number = 0;
	int err = 0;
	size_t i;

	if (!btf)
		return -ENOENT;
	for (i = 0; !err && i < sizeof(wanted) / sizeof(*wanted); i++)
		err = probe_offset(btf, wanted[i].structure, wanted[i].member, wanted[i].to);
	if (!err)
		err = probe_offset(btf, "ns_common", "inum", &number);
	features->namespace_number += number;
	btf__free(btf);
	return err;
}

int trace_attach(int program)
{
	int fd = bpf_raw_tracepoint_open(NULL, program);

	return fd < 0 ? -errno : fd;
}
