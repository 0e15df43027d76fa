/* Foreign BPF programs, and tracing programs on them. Declarations only: read by cc and cffi. */

/* A loaded program, as tracing programs want to know it. */
struct trace_target {
	__u32 id;
	char name[512];	/* of its main function, whole: as long as the kernel takes names (KSYM_NAME_LEN) */
	__u32 function;	/* number of that function in the program's BTF */
};

/* A descriptor of the program with this number. -ENOENT: it is gone; -EPERM: CAP_SYS_ADMIN is missing. */
int trace_open(__u32 program_id);

/*
 * What is to be known of the program. -ENODATA: it has no BTF; -ENOEXEC: it is not compiled to machine code here;
 * -EPROTOTYPE: its main function does not take one struct xdp_md *; -ENOTUNIQ: another function has its name.
 */
int trace_describe(int program, struct trace_target *target);

/*
 * A descriptor of the program that stands in a function's place (freplace), 0 where none does. libxdp puts a
 * program that is alone on its interface in the place of its dispatcher's main function.
 */
int trace_extension(int program, __u32 function);

/*
 * Where the members of the kernel's structures are, for struct kernel_features. -ENOENT: the kernel has no BTF;
 * -ESRCH: one of them is not there.
 */
int trace_probe_offsets(struct kernel_features *features);

/*
 * Attaches a tracing program to what it was loaded for. Returns the link's descriptor (close-on-exec): it holds that
 * program until it is closed.
 */
int trace_attach(int program);
