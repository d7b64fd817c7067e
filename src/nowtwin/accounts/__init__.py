"""Who there is and what proves it: users, roles, secrets, the OAuth registry, JWT."""
