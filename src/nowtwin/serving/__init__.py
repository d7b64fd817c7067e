"""HTTP in and out: the application, its routes, its sockets."""
