/* The integer types of <linux/types.h> for cffi, which follows no #include; C takes the kernel's own. */

typedef uint8_t __u8;
typedef uint16_t __u16;
typedef uint32_t __u32;
typedef unsigned long long __u64;
typedef long long __s64;
typedef uint16_t __be16;
typedef uint32_t __be32;
typedef unsigned long long __be64;
