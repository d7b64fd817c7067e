"""The copied rows: loaded, compared, deleted, labelled; their tables and columns."""
