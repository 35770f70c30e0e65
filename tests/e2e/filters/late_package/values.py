"""What the others import."""

VALUE = "value"
LATER = "later"
