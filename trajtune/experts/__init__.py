"""Where data comes from: soft actor-critic (goal-conditioned, or one per task) and scripted policies."""
