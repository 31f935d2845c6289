"""Statistics of a dataset: the paper's table and UserLM's measures, with intervals."""
