"""Prompt Decision Transformer: config, trunk, tokens and heads, and the actor that computes nothing twice."""
