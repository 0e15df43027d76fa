"""Tunnel netdevs: what their links say, who is behind them, and how the kernel side is told of it."""
