"""The control API below /_nowtwin/, and what it does to the twin."""
