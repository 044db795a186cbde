"""Every page of the hive."""

from django.contrib import admin
from django.urls import include, path

urlpatterns = [
    path("", include("dashboard.urls")),
    path("agents/", include("agents.urls")),
    path("admin/", admin.site.urls),
]
