"""Recorded trajectories: the store on disk, few-shot sets, and the windows and prompts drawn from them."""
