/* BPF maps and programs behind a few functions: the only file that knows libbpf's loader. */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/bpf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bpf.h"

/*
 * The verifier's log is wanted whole: before Linux 6.4 one that does not fit is an error
 * of its own. Level 0 asks for it on failure only, so it is rarely touched.
 */
#define LOG_SIZE (16 * 1024 * 1024)
#define LOG_ON_FAILURE 0
/* Commit c2f2cdbeffda (Linux 5.18); older UAPI headers lack it. */
#ifndef BPF_F_XDP_HAS_FRAGS
#define BPF_F_XDP_HAS_FRAGS (1U << 5)
#endif

struct bpf_programs {
	struct bpf_object *object;
	char log[LOG_SIZE];
};

/* libbpf's messages would go to stderr: errors are told by exceptions. */
static int print_nothing(enum libbpf_print_level level, const char *format, va_list arguments)
{
	(void)level;
	(void)format;
	(void)arguments;
	return 0;
}

int bpf_possible_cpus(void)
{
	return libbpf_num_possible_cpus();
}

int bpf_create_map(__u32 type, const char *name, __u32 key_size, __u32 value_size, __u32 entries, __u32 flags)
{
	LIBBPF_OPTS(bpf_map_create_opts, opts, .map_flags = flags);
	int fd = bpf_map_create(type, name, key_size, value_size, entries, &opts);

	return fd < 0 ? -errno : fd;
}

int bpf_update_map(int map, const void *key, const void *value)
{
	return bpf_map_update_elem(map, key, value, BPF_ANY) ? -errno : 0;
}

int bpf_lookup_map(int map, const void *key, void *value)
{
	return bpf_map_lookup_elem(map, key, value) ? -errno : 0;
}

int bpf_delete_map(int map, const void *key)
{
	return bpf_map_delete_elem(map, key) ? -errno : 0;
}

__u32 *bpf_map_word(int map)
{
	void *word = mmap(NULL, sysconf(_SC_PAGESIZE), PROT_READ | PROT_WRITE, MAP_SHARED, map, 0);

	return word == MAP_FAILED ? NULL : word;
}

void bpf_unmap_word(__u32 *word)
{
	munmap(word, sysconf(_SC_PAGESIZE));
}

void bpf_store_word(__u32 *word, __u32 value)
{
	__atomic_store_n(word, value, __ATOMIC_RELEASE);
}

int bpf_create_barrier(int inner)
{
	LIBBPF_OPTS(bpf_map_create_opts, opts, .inner_map_fd = inner);
	int fd = bpf_map_create(BPF_MAP_TYPE_ARRAY_OF_MAPS, "barrier", sizeof(__u32), sizeof(__u32), 1, &opts);

	return fd < 0 ? -errno : fd;
}

int bpf_wait_programs(int barrier, int inner)
{
	__u32 zero = 0;

	return bpf_map_update_elem(barrier, &zero, &inner, BPF_ANY) ? -errno : 0;
}

void bpf_probe_features(struct kernel_features *features)
{
	libbpf_set_print(print_nothing);
	features->xdp_load_bytes = libbpf_probe_bpf_helper(BPF_PROG_TYPE_XDP, BPF_FUNC_xdp_load_bytes, NULL) == 1;
	features->skb_xfrm_state =
		libbpf_probe_bpf_helper(BPF_PROG_TYPE_SCHED_CLS, BPF_FUNC_skb_get_xfrm_state, NULL) == 1;
}

struct bpf_programs *bpf_programs_open(const void *object, __u64 size, const struct kernel_features *features)
{
	struct bpf_programs *programs = calloc(1, sizeof(*programs));
	struct bpf_program *program;
	struct bpf_map *settings;

	if (!programs)
		return NULL;
	libbpf_set_print(print_nothing);
	LIBBPF_OPTS(bpf_object_open_opts, opts, .object_name = "xdpfix", .kernel_log_buf = programs->log,
		    .kernel_log_size = LOG_SIZE, .kernel_log_level = LOG_ON_FAILURE);
	programs->object = bpf_object__open_mem(object, size, &opts);
	if (!programs->object)
		goto fail;
	settings = bpf_object__find_map_by_name(programs->object, ".rodata");
	if (!settings || bpf_map__set_initial_value(settings, features, sizeof(*features)))
		goto fail;
	bpf_object__for_each_program(program, programs->object)
		if (features->xdp_load_bytes && bpf_program__type(program) == BPF_PROG_TYPE_XDP &&
		    bpf_program__set_flags(program, BPF_F_XDP_HAS_FRAGS))
			goto fail;
	return programs;
fail:
	bpf_programs_close(programs);
	return NULL;
}

int bpf_programs_set_map(struct bpf_programs *programs, const char *name, int fd)
{
	struct bpf_map *map = bpf_object__find_map_by_name(programs->object, name);

	if (!map)
		return -ENOENT;
	return bpf_map__reuse_fd(map, fd);
}

int bpf_programs_set_target(struct bpf_programs *programs, int target, const char *function)
{
	struct bpf_program *program;
	int err;

	bpf_object__for_each_program(program, programs->object) {
		err = bpf_program__set_attach_target(program, target, function);
		if (err)
			return err;
	}
	return 0;
}

int bpf_programs_load(struct bpf_programs *programs)
{
	return bpf_object__load(programs->object);
}

int bpf_programs_fd(struct bpf_programs *programs, const char *name)
{
	struct bpf_program *program = bpf_object__find_program_by_name(programs->object, name);

	return program ? bpf_program__fd(program) : -ENOENT;
}

const char *bpf_programs_log(const struct bpf_programs *programs)
{
	return programs->log;
}

void bpf_programs_close(struct bpf_programs *programs)
{
	if (!programs)
		return;
	bpf_object__close(programs->object);
	free(programs);
}

int bpf_load_instructions(__u32 type, const char *name, const void *instructions, __u32 count, __u32 flags, char *log,
			  __u32 log_size)
{
	LIBBPF_OPTS(bpf_prog_load_opts, opts, .prog_flags = flags, .log_buf = log, .log_size = log_size,
		    .log_level = LOG_ON_FAILURE);
	int fd;

	if (type == BPF_PROG_TYPE_XDP)
		opts.expected_attach_type = BPF_XDP;
	fd = bpf_prog_load(type, name, "GPL", instructions, count, &opts);
	return fd < 0 ? -errno : fd;
}

int bpf_load_tracing(const char *name, const void *instructions, __u32 count, __u32 attach_type, int target,
		     __u32 function, char *log, __u32 log_size)
{
	LIBBPF_OPTS(bpf_prog_load_opts, opts, .expected_attach_type = attach_type, .attach_prog_fd = target,
		    .attach_btf_id = function, .log_buf = log, .log_size = log_size, .log_level = LOG_ON_FAILURE);
	int fd = bpf_prog_load(BPF_PROG_TYPE_TRACING, name, "GPL", instructions, count, &opts);

	return fd < 0 ? -errno : fd;
}

int bpf_verified_instructions(int program)
{
	struct bpf_prog_info info = {0};
	__u32 size = sizeof(info);

	if (bpf_obj_get_info_by_fd(program, &info, &size))
		return -errno;
	return info.verified_insns;
}

int bpf_test_run(int program, const void *frame, __u32 length, const struct bpf_skb_context *skb, __u32 xdp_ifindex,
		 __u32 repeat, __u32 *value, __u32 *duration)
{
	struct xdp_md xdp = {.data_end = length, .ingress_ifindex = xdp_ifindex};
	struct __sk_buff context = {0};
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = frame, .data_size_in = length, .repeat = repeat);

	if (skb) {
		context.ifindex = skb->ifindex;
		context.gso_segs = skb->gso_segs;
		context.gso_size = skb->gso_size;
		opts.ctx_in = &context;
		opts.ctx_size_in = sizeof(context);
	} else if (xdp_ifindex) {
		opts.ctx_in = &xdp;
		opts.ctx_size_in = sizeof(xdp);
	}
	if (bpf_prog_test_run_opts(program, &opts))
		return -errno;
	*value = opts.retval;
	*duration = opts.duration;
	return 0;
}
