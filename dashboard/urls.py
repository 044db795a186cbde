"""The dashboard's addresses. What changes anything is a POST."""

from django.urls import path

from . import agent_tabs, views

urlpatterns = [
    path("", views.index, name="index"),
    path("login", views.sign_in, name="login"),
    path("logout", views.sign_out, name="logout"),
    path("look", views.look, name="look"),
    path("healthz", views.healthz, name="healthz"),
    path("approvals/<int:approval>/approve", views.approve, name="approve"),
    path("approvals/<int:approval>/deny", views.deny, name="deny"),
    path("containers", views.spawn, name="spawn"),
    path("containers/<str:name>/output", views.output, name="output"),
    path("containers/<str:name>/<str:verb>", views.act, name="act"),
    path("messages", views.send, name="send"),
    path("messages/<int:message>/requeue", views.requeue, name="requeue"),
    path("agents/<str:name>/notes", agent_tabs.notes_, name="agent-notes"),
    path("agents/<str:name>/config", agent_tabs.config, name="agent-config"),
    path("agents/<str:name>/config/rollback", agent_tabs.rollback, name="agent-rollback"),
    path("agents/<str:name>/vitals", agent_tabs.vitals_, name="agent-vitals"),
    path("agents/<str:name>/login/<str:verb>", agent_tabs.login_act, name="login-act"),
    path("inbox/read", views.read, name="read"),
]
