"""The lowest floor: checks, files, seeds, devices, events."""
