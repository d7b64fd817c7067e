"""Configuration as code: one YAML file says which connections and tables there are; what differs is shown, then made.

`document` reads and writes the file, `difference` compares two of them (pure), `carry_out` knows what is and makes the
difference.
"""
