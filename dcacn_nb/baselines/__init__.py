"""The methods to compare DCACN with: one module each, found by its name."""
