"""The HTTP APIs, one module each: functions from a Request to an Answer."""
