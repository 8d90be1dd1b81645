"""How parsing, the DAG, the scheduler and reruns grow with the cohort. ``python -m benchmarks.scale``."""
