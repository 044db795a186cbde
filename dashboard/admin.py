"""Sign-in and notices in the plain Django admin."""

from django.contrib import admin
from django.contrib.auth.models import Group, User

from broker.admin import ReadOnly

from . import roles
from .acts import Act
from .indexing import Indexed, Minute
from .models import Mute, Notice, SignInLink

admin.site.unregister((User, Group))


@admin.register(User)
class UserAdmin(ReadOnly):
    list_display = ("username", "given", "is_active", "last_login")
    fields = ("username", "given", "is_active", "date_joined", "last_login")

    @admin.display(description="role")
    def given(self, row: User) -> str:
        return roles.of_user(row)


@admin.register(SignInLink)
class SignInLinkAdmin(ReadOnly):
    list_display = ("user", "role", "expires_at")
    fields = ("user", "role", "expires_at")


@admin.register(Notice)
class NoticeAdmin(ReadOnly):
    list_display = ("key", "target", "told_at", "attempt", "next_at", "error")


@admin.register(Act)
class ActAdmin(ReadOnly):
    list_display = ("at", "by", "where", "verb", "target", "words")


@admin.register(Mute)
class MuteAdmin(ReadOnly):
    list_display = ("until", "by", "where")


@admin.register(Indexed)
class IndexedAdmin(ReadOnly):
    list_display = ("id", "upto")


@admin.register(Minute)
class MinuteAdmin(ReadOnly):
    list_display = ("at", "messages")
