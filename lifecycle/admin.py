"""Containers in the plain Django admin."""

from django.contrib import admin

from broker.admin import ReadOnly

from .models import Container


@admin.register(Container)
class ContainerAdmin(ReadOnly):
    list_display = ("name", "role", "driver", "desired", "status", "op", "step", "port", "uid")
    list_filter = ("status", "driver")
