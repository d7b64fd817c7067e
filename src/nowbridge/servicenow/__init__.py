"""Speak to a ServiceNow instance: log in, query, page, decode, discover. Knows no Postgres."""
