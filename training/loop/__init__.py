"""The closed loop: from people's dialogues to a served pair, stage by stage, each made once."""
