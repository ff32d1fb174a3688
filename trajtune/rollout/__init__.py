"""Acting in environments: scores over paired episodes."""
