"""The only home of a score."""
