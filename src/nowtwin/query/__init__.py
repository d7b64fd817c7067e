"""The encoded query language of `sysparm_query`: text → syntax tree (parse) → SQL (render)."""
