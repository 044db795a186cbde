"""The dashboard's addresses. What changes anything is a POST."""

from django.urls import path

from . import acting, agent_tabs, finding, health, users, views

urlpatterns = [
    path("", views.index, name="index"),
    path("login", views.sign_in, name="login"),
    path("logout", views.sign_out, name="logout"),
    path("look", views.look, name="look"),
    path("healthz", health.healthz, name="healthz"),
    path("approvals/<int:approval>/approve", views.approve, name="approve"),
    path("approvals/<int:approval>/deny", views.deny, name="deny"),
    path("approvals", finding.approvals, name="approvals"),
    path("audit", finding.audit, name="audit"),
    path("search", finding.search, name="search"),
    path("ask/spawn", acting.ask_spawn, name="ask_spawn"),
    path("ask/panic", acting.ask_panic, name="ask_panic"),
    path("ask/many", acting.ask_many, name="ask_many"),
    path("ask/<str:name>/<str:verb>", acting.ask, name="ask"),
    path("panic", acting.panic, name="panic"),
    path("panic/over", acting.go_on, name="go_on"),
    path("containers", acting.spawn, name="spawn"),
    path("containers/act", acting.act_many, name="act_many"),
    path("containers/<str:name>/destroy", acting.destroy, name="destroy"),
    path("containers/<str:name>/output", views.output, name="output"),
    path("containers/<str:name>/<str:verb>", views.act, name="act"),
    path("messages", views.send, name="send"),
    path("messages/<int:message>", finding.message, name="message"),
    path("messages/<int:message>/requeue", views.requeue, name="requeue"),
    path("agents/<str:name>/notes", agent_tabs.notes_, name="agent-notes"),
    path("agents/<str:name>/config", agent_tabs.config, name="agent-config"),
    path("agents/<str:name>/config/rollback", agent_tabs.rollback, name="agent-rollback"),
    path("agents/<str:name>/vitals", agent_tabs.vitals_, name="agent-vitals"),
    path("agents/<str:name>/login/<str:verb>", agent_tabs.login_act, name="login-act"),
    path("inbox/read", views.read, name="read"),
    path("waits", health.waiting, name="waits"),
    path("mute", views.mute, name="mute"),
    path("metrics", health.metrics, name="metrics"),
    path("users", users.users, name="users"),
    path("users/<str:name>/remove", users.remove, name="user_remove"),
    path("users/<str:name>/link", users.link, name="user_link"),
]
