"""Simulated stations: what their sensors would have recorded."""
