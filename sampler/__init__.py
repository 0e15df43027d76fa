"""xdpfix's sampling side: BPF programs, their loaders and links, the ring, the service and its commands."""
