"""The embedded collector."""
