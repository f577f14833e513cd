"""The check is checked: every arithmetic line of every backward pass is made wrong in turn, and must be caught."""
