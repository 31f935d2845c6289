"""Datasets to hand on: the forms that others read, a card, a split."""
