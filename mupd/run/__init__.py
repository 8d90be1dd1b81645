"""What surrounds the stages of a run: shards, job resources, locks, doctor, forecast, status."""
