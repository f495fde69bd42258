"""Health checks at a port of their own, answered by a thread and an event loop of their own.

They do not wait behind texts.
"""

from __future__ import annotations

import socket
import threading
import time

from affineur.serve.app import create_health_app
from affineur.serve.process.uvicorn_adapter import Server
from affineur.serve.service import Service

_GRACE = 1
#: Connections of the health port: those who ask there are few, and ask at once.
HEALTH_CONNECTIONS = 64


class HealthServer:
    """Answers health checks while a block runs.

    This thread would call a process live whose event loop hangs, which no request survives; so that loop
    tells each time it turns.

    Args:
        service: Whose state is asked for.
        listener: The health port.
    """

    def __init__(self, service: Service, listener: socket.socket) -> None:
        self._service, self._listener = service, listener
        self._turned = time.monotonic()
        self._server = Server(create_health_app(service, self._still), _GRACE, most=HEALTH_CONNECTIONS)
        self._thread = threading.Thread(
            target=self._server.run, args=([listener],), name="affineur-health", daemon=True
        )

    def __enter__(self) -> HealthServer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.end()
        self._thread.join(5 + _GRACE)

    def turn(self) -> None:
        """Record that the event loop of the requests is alive."""
        self._turned = time.monotonic()

    def _still(self) -> float:
        """Return for how many seconds that loop has not turned; when it drains, it need not."""
        return 0.0 if self._service.draining else time.monotonic() - self._turned
