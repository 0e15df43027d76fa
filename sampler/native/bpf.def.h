/*
 * BPF maps and programs behind a few functions. Declarations only: read by cc and cffi.
 * Functions that return int give a descriptor or 0, or -errno.
 */

/* CPUs that this kernel may ever have, or -errno. */
int bpf_possible_cpus(void);

/* `type` and `flags` are the kernel's BPF_MAP_TYPE_* and BPF_F_* numbers. */
int bpf_create_map(__u32 type, const char *name, __u32 key_size, __u32 value_size, __u32 entries, __u32 flags);
/* Per-CPU maps take and give one value a possible CPU, each rounded up to 8 octets. */
int bpf_update_map(int map, const void *key, const void *value);
int bpf_lookup_map(int map, const void *key, void *value);
/* Of hash maps only. -ENOENT where the key is not there. */
int bpf_delete_map(int map, const void *key);

/* The first word of an mmapable array, mapped to be stored to until bpf_unmap_word; NULL with errno. */
__u32 *bpf_map_word(int map);
void bpf_unmap_word(__u32 *word);
/* One aligned store, behind all writes before it. */
void bpf_store_word(__u32 *word, __u32 value);

/*
 * A map of maps with one entry, like `inner`. No program uses it: bpf_wait_programs puts `inner` into it, and the
 * kernel returns from that when every program that ran at the call has ended (commit 1ae80cf31938, Linux 4.20).
 */
int bpf_create_barrier(int inner);
int bpf_wait_programs(int barrier, int inner);

/* Ask the running kernel. With xdp_load_bytes, XDP programs may take frames of several buffers, too. */
void bpf_probe_features(struct kernel_features *features);

/* An object loaded through libbpf. */
struct bpf_programs;
/* Takes a copy of the object's octets. Returns NULL where it cannot be read; bpf_programs_log says why. */
struct bpf_programs *bpf_programs_open(const void *object, __u64 size, const struct kernel_features *features);
/* Uses the map `fd` for the object's map `name`. */
int bpf_programs_set_map(struct bpf_programs *programs, const char *name, int fd);
/* For an object of tracing programs: what all of them are to be attached to, a function of the program `target`. */
int bpf_programs_set_target(struct bpf_programs *programs, int target, const char *function);
int bpf_programs_load(struct bpf_programs *programs);
/* Owned by programs. */
int bpf_programs_fd(struct bpf_programs *programs, const char *name);
/* What the verifier said of a program that it refused. */
const char *bpf_programs_log(const struct bpf_programs *programs);
void bpf_programs_close(struct bpf_programs *programs);

/* Loads instructions that already name their maps by descriptor. `type` is BPF_PROG_TYPE_*. */
int bpf_load_instructions(__u32 type, const char *name, const void *instructions, __u32 count, __u32 flags, char *log,
			  __u32 log_size);

/* The same for a tracing program on a function of the program `target`, by its number in that program's BTF. */
int bpf_load_tracing(const char *name, const void *instructions, __u32 count, __u32 attach_type, int target,
		     __u32 function, char *log, __u32 log_size);

/* Instructions that the verifier processed for a loaded program (Linux 5.16, else 0), or -errno. */
int bpf_verified_instructions(int program);

/* What an skb knows beside its frame, for a test run. The kernel lets no VLAN tag be set here. */
struct bpf_skb_context {
	__u32 ifindex;
	__u32 gso_segs;
	__u32 gso_size;
};

/*
 * BPF_PROG_TEST_RUN, `repeat` times. skb: NULL for XDP. Gives the last return value and
 * the mean duration in ns.
 */
int bpf_test_run(int program, const void *frame, __u32 length, const struct bpf_skb_context *skb, __u32 xdp_ifindex,
		 __u32 repeat, __u32 *value, __u32 *duration);
