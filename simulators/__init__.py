"""Stations, recordings, faults and replay: everything that plays a plant."""
