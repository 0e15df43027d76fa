"""The kernel's psample groups as a second source of samples."""
