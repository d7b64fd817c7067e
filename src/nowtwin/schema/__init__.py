"""The dictionary: shipped, written as facts, taken from documents, shown as rows."""
