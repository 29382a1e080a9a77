"""A stage with probabilities beside its scores, and its fitted calibration on disk."""
