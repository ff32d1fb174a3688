"""Reinforcement finetuning for trajectory transformers."""

__version__ = "0.1.0"
