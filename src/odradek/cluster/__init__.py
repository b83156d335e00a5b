"""What the cluster knows about itself: a log of change records, folded into an immutable image."""
