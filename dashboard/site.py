"""The admin site: every row to be read, by admins, who sign in as everywhere else."""

from typing import Any

from django.contrib.admin import AdminSite
from django.contrib.auth.decorators import login_not_required
from django.contrib.auth.views import redirect_to_login
from django.http import Http404, HttpRequest
from django.utils.decorators import method_decorator

from . import roles
from .views import sign_out


class HiveSite(AdminSite):
    site_header = site_title = "hyperhive"
    index_title = "Every row, to be read"

    def has_permission(self, request: HttpRequest) -> bool:
        return roles.of_request(request) == roles.ROLES[-1]

    @method_decorator(login_not_required)
    def login(self, request: Any, *_: Any) -> Any:
        return redirect_to_login(request.GET.get("next", "/admin/"))

    def logout(self, request: Any, *_: Any) -> Any:
        return sign_out(request)

    def password_change(self, request: HttpRequest, *_: Any) -> Any:
        raise Http404("Nobody has a password here.")

    def password_change_done(self, request: HttpRequest, *_: Any) -> Any:
        return self.password_change(request)
