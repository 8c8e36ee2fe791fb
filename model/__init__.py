"""Tensors only: encoders, evidence, corrector, training and evaluation."""
