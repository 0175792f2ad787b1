"""Stockouts: simulated by mechanism, detected from sales."""
