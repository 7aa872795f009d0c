"""Published measurements, as the tables that calibration and accuracy read."""
