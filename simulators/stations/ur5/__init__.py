"""A six-axis arm that moves between waypoints over a work table."""
