"""A respondent's score on the field's suites: MT-Bench, Vicuna-Bench, AlpacaEval."""
