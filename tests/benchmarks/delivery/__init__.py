"""What the guarantees of delivery cost, beside real brokers and without a model."""
