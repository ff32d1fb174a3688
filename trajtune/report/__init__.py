"""What a study found: statistics and tables, from its result files alone, without torch."""
