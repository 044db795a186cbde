"""Approvals in the plain Django admin: who asked, who decided, when and from where."""

from django.contrib import admin

from broker.admin import ReadOnly, beginning

from .models import Approval


@admin.register(Approval)
class ApprovalAdmin(ReadOnly):
    list_display = ("id", "kind", "agent", "state", "requested_by", "decided_by", "decided_at", "decided_from", "said")
    list_filter = ("state", "kind")

    @admin.display(description="why")
    def said(self, row: Approval) -> str:
        return beginning(row.why)
