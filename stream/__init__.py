"""From a broker's messages to windows, verdicts and fault events."""
