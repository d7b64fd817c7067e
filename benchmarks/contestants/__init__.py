"""Who loads the same rows into the same Postgres. Each module is a program: see benchmarks.contest."""
