"""A whole worker on a simulated log and clock, killed at every await there is."""
