"""What several baselines share, exported from nbs/baselines/parts."""
