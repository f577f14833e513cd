"""Check the check: make every arithmetic line of every backward pass wrong, and see whether that is noticed."""
