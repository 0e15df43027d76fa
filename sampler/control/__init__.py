"""What a running service says of itself and can be told: the control socket, metrics."""
