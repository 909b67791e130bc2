"""What several heads share, exported from nbs/heads/parts."""
