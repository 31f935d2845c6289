"""The engines of both sides: found, watched, placed upon."""
