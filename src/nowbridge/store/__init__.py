"""Speak to our Postgres: the only folder that imports psycopg. One file per noun, SQL beside the function that runs it.

Two schemas are ours: `nowbridge` (what we know) and, made by `jobs`, `nowbridge_jobs` (the queue). Replica tables stand
in `public` for the first connection and in a schema of its name for each further one (decision X24).
"""
