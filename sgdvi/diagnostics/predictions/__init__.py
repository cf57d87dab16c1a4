"""Predictions of a test set as what runs are compared on: distances point by point, scores, calibration."""
