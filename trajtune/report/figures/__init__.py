"""Figures of the paper in its layout, learning curves, gains and profiles; each says what it needs of the results."""
