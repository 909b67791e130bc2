"""What every floor stands on: checks, files, seeds, devices, events."""
