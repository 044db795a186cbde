"""The ASGI application that Daphne serves: pages, and the sockets that keep them live."""

import os

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "hyperhive.settings")
pages = get_asgi_application()

from channels.auth import AuthMiddlewareStack  # noqa: E402 (Django has to be set up first)
from channels.routing import ProtocolTypeRouter, URLRouter  # noqa: E402

from dashboard.consumers import websockets  # noqa: E402
from dashboard.roles import Viewers  # noqa: E402

application = ProtocolTypeRouter({"http": pages, "websocket": AuthMiddlewareStack(Viewers(URLRouter(websockets)))})
