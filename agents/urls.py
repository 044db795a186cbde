"""An agent's pages: /agents/<name>/ and its tabs. Those that need its container or its files are the dashboard's."""

from django.urls import path

from . import views

urlpatterns = [
    path("<str:name>/", views.page, {"tab": "live"}, name="agent"),
    *(path(f"<str:name>/{tab}", views.page, {"tab": tab}, name=f"agent-{tab}") for tab in ("inbox", "turns", "login")),
    path("<str:name>/turns/<int:number>", views.turn, name="agent-turn"),
    path("<str:name>/export", views.export, name="agent-export"),
]
