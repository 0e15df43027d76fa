"""xdpfix's exporting side: the flow cache, the IPFIX encoder, sessions and collectors. Knows nothing of BPF."""
