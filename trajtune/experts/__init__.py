"""From an environment to a dataset: experts, policies of medium quality, recording."""
