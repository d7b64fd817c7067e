"""Pages of rows as a caller sees them: fields, display values, veils, aggregates, the wire."""
