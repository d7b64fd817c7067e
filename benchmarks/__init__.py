"""Measures Nowbridge side by side with what people use today, on the same source and the same Postgres."""
