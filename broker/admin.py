"""Messages in the plain Django admin, and how every model is shown there: to be read, never written, at any size."""

from typing import Any

from django.contrib import admin
from django.core.paginator import Paginator
from django.db import models
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.functional import cached_property

from .age import Age
from .clean import clean
from .jobs import Job
from .models import Lease, Mailbox, Message


class NewestOnly(Paginator):
    """Counts to MOST and no further: to count a million rows takes longer than to read a page of them."""

    MOST = 5000

    @cached_property
    def count(self) -> int:
        return len(self.object_list.values_list("pk")[: self.MOST])  # type: ignore[attr-defined]


class ReadOnly(admin.ModelAdmin):
    """Newest first, by the key alone. Who may come at all is for the site to say."""

    paginator = NewestOnly
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    list_max_show_all = 0
    ordering = ("-pk",)
    sortable_by = ()
    actions = None

    def has_view_permission(self, request: HttpRequest, obj: models.Model | None = None) -> bool:
        return True

    def has_module_permission(self, request: HttpRequest) -> bool:
        return True

    def has_add_permission(self, request: HttpRequest, *_: Any) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: models.Model | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: models.Model | None = None) -> bool:
        return False

    def get_object(self, *args: Any, **how: Any) -> Any:
        """Agents wrote most of it, so it is shown cleaned; nothing here is ever saved."""
        if row := super().get_object(*args, **how):
            for field in row._meta.concrete_fields:
                setattr(row, field.attname, cleaned(getattr(row, field.attname)))
        return row


def cleaned(value: Any) -> Any:
    """With every text within it cleaned."""
    match value:
        case str():
            return clean(value)
        case list():
            return [cleaned(one) for one in value]
        case dict():
            return {cleaned(name): cleaned(one) for name, one in value.items()}
    return value


def beginning(text: str) -> str:
    return clean(" ".join(text[:160].split()))


class StateFilter(admin.SimpleListFilter):
    """By a literal state: only then the partial indexes serve (sqlite.org/partialindex.html)."""

    title = parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(state, state) for state in Message.State.values]

    def queryset(self, request: HttpRequest, rows: QuerySet) -> QuerySet:
        known = self.value() in Message.State.values
        return rows.extra(where=[f"state = '{self.value()}'"]) if known else rows  # noqa: S610 (one of four words)


@admin.register(Message)
class MessageAdmin(ReadOnly):
    list_display = ("id", "created_at", "sender", "recipient", "state", "said")
    list_filter = (StateFilter,)

    @admin.display(description="body")
    def said(self, row: Message) -> str:
        return beginning(row.body)


@admin.register(Mailbox)
class MailboxAdmin(ReadOnly):
    list_display = ("name", "role", "open")


@admin.register(Lease)
class LeaseAdmin(ReadOnly):
    list_display = ("turn", "recipient", "until")


@admin.register(Job)
class JobAdmin(ReadOnly):
    list_display = ("name", "started_at", "ended_at", "ok", "result")


@admin.register(Age)
class AgeAdmin(ReadOnly):
    list_display = ("id", "seconds", "wall", "ran")
