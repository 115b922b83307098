"""The HTML report of a run: what every stage did, in one file that needs nothing else."""
