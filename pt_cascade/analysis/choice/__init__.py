"""Cut-offs chosen on some queries and reported on others, with intervals, selection noise and advice."""
