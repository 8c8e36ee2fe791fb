"""Real brokers on localhost, without root and without Docker: for the demo and the tests."""
