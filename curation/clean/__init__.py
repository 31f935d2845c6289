"""From raw dialogues to ones that can be trained on: stages, and the pipeline that runs them."""
