"""Prometheus metrics: base units, labels station and modality only."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, start_http_server

from stream.config import ConfigError

LATENCY_BUCKETS_S = (0.02, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 1.0, 2.0, 5.0, 10.0)


class BrokerMetrics:
    """What everybody beside a broker counts, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.refused = Counter(
            "weldfusion_refused", "Refused input", ["station", "modality"], registry=self.registry
        )
        self.unpublished = Counter(
            "weldfusion_unpublished", "Messages the broker did not take", registry=self.registry
        )
        self.transport_dropped = Gauge(
            "weldfusion_transport_dropped",
            "Messages the transport had to drop, in or out",
            registry=self.registry,
        )
        self.broker_failures = Gauge(
            "weldfusion_broker_failures",
            "Times the broker was lost, not reached, or refused something",
            registry=self.registry,
        )

    def serve(self, port: int) -> None:
        """Offer them at /metrics; raises ConfigError where the port cannot be opened."""
        try:
            start_http_server(port, registry=self.registry)
        except OSError as error:
            reason = f"metrics_port: {port} cannot be opened: {error}"
            raise ConfigError("metrics", [reason]) from error


class BridgeMetrics(BrokerMetrics):
    """A bridge's metrics."""

    def __init__(self) -> None:
        super().__init__()
        self.carried = Counter(
            "weldfusion_carried",
            "Messages that the other broker has",
            ["station", "modality"],
            registry=self.registry,
        )
        self.waiting = Gauge(
            "weldfusion_waiting",
            "Messages taken and not yet acknowledged",
            registry=self.registry,
        )


class Metrics(BrokerMetrics):
    """A worker's metrics."""

    def __init__(self) -> None:
        super().__init__()
        self.windows = Counter(
            "weldfusion_windows", "Windows closed", ["station"], registry=self.registry
        )
        self.events = Counter(
            "weldfusion_events", "Fault events", ["station", "modality"], registry=self.registry
        )
        self.unjudged = Gauge(
            "weldfusion_unjudged_windows",
            "Windows closed that have no verdict yet",
            registry=self.registry,
        )
        self.skipped = Counter(
            "weldfusion_skipped_windows",
            "Windows not judged because the worker was behind",
            ["station"],
            registry=self.registry,
        )
        self.uncorrected = Counter(
            "weldfusion_uncorrected",
            "Faulty or absent modalities not corrected because the worker was behind",
            ["station", "modality"],
            registry=self.registry,
        )
        self.lag_s = Gauge(
            "weldfusion_lag_seconds",
            "Now minus the newest capture time",
            ["station"],
            registry=self.registry,
        )
        self.latency_s = Histogram(
            "weldfusion_latency_seconds",
            "From the capture of the anchor to its latent at the broker",
            ["station"],
            buckets=LATENCY_BUCKETS_S,
            registry=self.registry,
        )
