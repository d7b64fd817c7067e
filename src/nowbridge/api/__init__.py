"""What others ask over HTTP. One file per resource; the only folder that knows the web server."""
