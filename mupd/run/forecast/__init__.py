"""What a configuration leads to, counted before anything runs: tasks, draws, network evaluations, bytes."""
