"""What counts as an event: pure folds over frames, run by the probe while it sends and by commands over a file."""
