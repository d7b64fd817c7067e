"""The console: pages for people, made on the server, without scripts. `site` says which page answers which path.

A page is made of what a function of `api` returns, and asks for nothing else.
"""
