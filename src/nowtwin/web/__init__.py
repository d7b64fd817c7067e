"""The web face: pages for people, made on the server, without scripts. `site` says which page answers which path."""
