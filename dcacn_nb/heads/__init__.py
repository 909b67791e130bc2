"""Methods on frozen features: one module each, found by its name."""
