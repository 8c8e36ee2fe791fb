"""Sensor faults and how they are injected into a running stream."""
