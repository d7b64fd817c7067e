"""The nouns: what a table, a column, a record's version and an error are. No I/O, no framework, no clock."""
