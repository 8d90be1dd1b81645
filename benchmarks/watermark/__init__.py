"""Detection rate of the watermark of generated slides, and its rate of false alarms."""
