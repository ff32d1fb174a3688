"""The page of a study's report: one HTML file that needs nothing else."""
