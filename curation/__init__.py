"""Data before training and after synthesis: read it, clean it, measure it, hand it on."""
