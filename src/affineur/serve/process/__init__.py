"""One process that serves: its sockets, its server, its signals, and what the system grants it."""
