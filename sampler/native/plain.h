/*
 * The records of a pcap file as nearly all are: in this machine's byte order, whole, not longer than the file's snapshot
 * length, with times that are times. They are found in large pieces of the file, without a call of libpcap a record.
 * Whatever is otherwise is libpcap's affair.
 */
#ifndef XDPFIX_PLAIN_H
#define XDPFIX_PLAIN_H

#include <stdbool.h>

#include <linux/types.h>
#include <pcap/pcap.h>

struct plain;

/*
 * The records of a regular file that libpcap has just opened for nanoseconds, and whose stream stays libpcap's. `out`
 * is NULL where it is no such capture: another format or byte order. 0 or -ENOMEM.
 */
int plain_open(struct plain **out, pcap_t *pcap);
void plain_close(struct plain *plain);

/*
 * The next record, as pcap_next_ex gives it, valid until the next call. False: what comes now, be it the end, is
 * libpcap's to read, and all behind it; its stream stands there.
 */
bool plain_next(struct plain *plain, struct pcap_pkthdr *header, const __u8 **record);

/* Octets of the file behind us. */
__u64 plain_position(const struct plain *plain);

#endif
