"""Bring in: a ServiceNow table becomes a Postgres table, is kept fresh, and is proved equal to its source.

spec -> layout -> rows      pure: what is wanted, what it becomes in Postgres, wire columns to COPY columns
labels                      what people read for a stored value
apply                       the one way into a replica table
backfill, capture           all rows once; then every change
verify                      download and compare
run                         the story above, in order
"""
