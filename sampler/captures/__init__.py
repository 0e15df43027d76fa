"""Captures through the same parser, cache and exporter."""
