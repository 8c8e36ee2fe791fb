"""Recordings of stations, read through one interface and written as MCAP."""
