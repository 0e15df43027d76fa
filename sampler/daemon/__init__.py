"""The running service: what it samples, for whom, and what a reload changes."""
