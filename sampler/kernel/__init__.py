"""What stands between the daemon and the kernel: programs, maps, attaching, rings."""
