"""Welding cells: arm, arc, program and camera."""
