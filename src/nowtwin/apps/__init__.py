"""Applications and update sets: their XML read, their records installed and taken away again."""
