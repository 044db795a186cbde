"""Signing in: by a link that the hive printed, or by one that `hive link` made. Users have no passwords."""

import hashlib
import re
import secrets
import time
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.contrib.auth import login
from django.contrib.auth.models import Group, User
from django.core.cache import cache
from django.http import HttpRequest
from django.utils import timezone

from broker.models import HIVE, OPERATOR, Mailbox
from broker.wire import Refused

from . import roles
from .models import SignInLink

WRONG_A_MINUTE = 5
NAME = re.compile(r"[a-z][a-z0-9-]{0,31}")


def mint(minutes: int = 10, user: str = OPERATOR, role: str = roles.ROLES[-1]) -> tuple[str, datetime]:
    """A token for `/login#token`, good once within that many minutes, and when it ends.

    Whoever comes with it is that user, with the user's own role, but at most the one that is given here.
    """
    roles.must_be_one(role)
    named(user)
    token, expires = secrets.token_urlsafe(32), timezone.now() + timedelta(minutes=minutes)
    SignInLink.objects.filter(expires_at__lt=timezone.now()).delete()
    SignInLink.objects.create(sha256=_hash(token), expires_at=expires, user=user, role=role)
    return token, expires


def link(token: str) -> str:
    """The token stands behind the #, which a browser keeps to itself: no log and no proxy sees it."""
    return f"{place()}/login#{token}"


def place() -> str:
    """Where the pages are, as people reach them."""
    return settings.HIVE_URL or f"http://{settings.HIVE_BIND}"


def sign_in(request: HttpRequest, token: str) -> None:
    """Refused('busy') after too many wrong tokens from there, Refused('refused') for a wrong one."""
    wrong = f"wrong-token:{request.META.get('REMOTE_ADDR')}:{int(time.time() // 60)}"
    if cache.get(wrong, 0) >= WRONG_A_MINUTE:
        raise Refused("busy", "Too many wrong tokens: wait a minute, then try again.", "too_many_tries")
    link = SignInLink.objects.filter(sha256=_hash(token), expires_at__gt=timezone.now())
    found = link.first()
    # One DELETE decides, so that of two who come with the same link one is let in.
    if found is None or not link.delete()[0]:
        cache.add(wrong, 0, 120)
        cache.incr(wrong)
        raise Refused("refused", "This link was used before or is too old: `hive link` makes a fresh one.", "bad_link")
    login(request, named(found.user))
    request.session[roles.SESSION] = found.role


# ---- users ------------------------------------------------------------------------------------------------------------


def named(name: str) -> User:
    """The user of that name; `operator`, whose hive it is, is there from the start."""
    if name == OPERATOR:
        return operator()
    user = User.objects.filter(username=name).first()
    if user is None:
        known = ", ".join(row["name"] for row in users())
        raise Refused("not_found", f"There is no user {name[:40]!r}. There are: {known}.", "unknown_user")
    return user


def users() -> list[dict[str, Any]]:
    operator()
    rows = User.objects.order_by("username").prefetch_related("groups")
    return [
        {
            "name": user.username,
            "role": roles.of_user(user),
            "last_login": user.last_login and user.last_login.isoformat(),
        }
        for user in rows
    ]


def give(name: str, role: str) -> dict[str, Any]:
    """Make a user, or give one another role."""
    roles.must_be_one(role)
    _must_be_free(name)
    user, created = User.objects.get_or_create(username=name)
    if created:
        user.set_unusable_password()
        user.save(update_fields=["password"])
    user.groups.set([Group.objects.get_or_create(name=role)[0]])
    return {"name": name, "role": role, "created": created}


def _must_be_free(name: str) -> None:
    if not NAME.fullmatch(name):
        raise Refused("bad_params", f"{name[:40]!r} is no name for a user: use a-z, 0-9 and -, at most 32.", "bad_name")
    if name == OPERATOR:
        raise Refused("conflict", f"{OPERATOR} is the hive's own admin: it stays.", "own_admin")
    # What was decided, and by whom, must not read as if an agent had done it.
    if name == HIVE or Mailbox.objects.filter(name=name).exists():
        raise Refused("conflict", f"{name} is an agent's name: choose another for a user.", "name_taken")


def remove(name: str) -> dict[str, Any]:
    """A user goes, with sessions and links; what they decided keeps their name."""
    if name == OPERATOR:
        raise Refused("conflict", f"{OPERATOR} is the hive's own admin: it stays.", "own_admin")
    named(name).delete()
    SignInLink.objects.filter(user=name).delete()
    return {"name": name}


def operator() -> User:
    user, created = User.objects.get_or_create(username=OPERATOR, defaults={"is_staff": True, "is_superuser": True})
    if created:
        user.set_unusable_password()
        user.save(update_fields=["password"])
    return user


def _hash(token: str) -> str:
    return hashlib.sha256(token.strip().encode("utf-8", "replace")).hexdigest()
