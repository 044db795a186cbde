"""An agent's page: /agents/<name>/."""

from django.urls import path

from . import views

urlpatterns = [path("<str:name>/", views.page, name="agent")]
