"""HTTP mechanics, once: send, retry, budget, redaction. Knows HTTP, not ServiceNow; the only importer of an HTTP client."""
