"""A training run: its driver, its log, its checkpoints, its folder."""
