"""``make bench``: what things cost, in time and memory, beside bare stubs in the same run."""
