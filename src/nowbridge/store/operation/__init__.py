"""What operators ask for: figures, notices, room, backups, accounts."""
