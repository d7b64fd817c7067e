"""SQL writes in the database: who may, the triggers, the log, the way out of a transaction, rows that clients hold."""
