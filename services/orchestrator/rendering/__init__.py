"""Markdown that models wrote, as HTML that a page may show."""
