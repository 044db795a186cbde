"""Containers in the plain Django admin: to be read, never written."""

from django.contrib import admin
from django.http import HttpRequest

from .models import Container


@admin.register(Container)
class ContainerAdmin(admin.ModelAdmin):
    list_display = ("name", "role", "driver", "desired", "status", "op", "step", "port", "uid")
    list_filter = ("status", "driver")

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Container | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Container | None = None) -> bool:
        return False
