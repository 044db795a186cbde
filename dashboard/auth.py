"""Who the operator is: whoever holds a link that the hive printed, or one that `hive link` made."""

import hashlib
import secrets
import time
from datetime import datetime, timedelta

from django.contrib.auth import login
from django.contrib.auth.models import User
from django.core.cache import cache
from django.http import HttpRequest
from django.utils import timezone

from broker.models import OPERATOR
from broker.wire import Refused

from .models import SignInLink

WRONG_A_MINUTE = 5


def mint(minutes: int = 10) -> tuple[str, datetime]:
    """A token for `/login#token`, good once within that many minutes, and when it ends."""
    token, expires = secrets.token_urlsafe(32), timezone.now() + timedelta(minutes=minutes)
    SignInLink.objects.filter(expires_at__lt=timezone.now()).delete()
    SignInLink.objects.create(sha256=_hash(token), expires_at=expires)
    return token, expires


def sign_in(request: HttpRequest, token: str) -> None:
    """Refused('busy') after too many wrong tokens from there, Refused('refused') for a wrong one."""
    wrong = f"wrong-token:{request.META.get('REMOTE_ADDR')}:{int(time.time() // 60)}"
    if cache.get(wrong, 0) >= WRONG_A_MINUTE:
        raise Refused("busy", "Too many wrong tokens: wait a minute, then try again.", "too_many_tries")
    # One DELETE decides, so that of two who come with the same link one is let in.
    if not SignInLink.objects.filter(sha256=_hash(token), expires_at__gt=timezone.now()).delete()[0]:
        cache.add(wrong, 0, 120)
        cache.incr(wrong)
        raise Refused("refused", "This link was used before or is too old: `hive link` makes a fresh one.", "bad_link")
    login(request, operator())


def operator() -> User:
    user, created = User.objects.get_or_create(username=OPERATOR, defaults={"is_staff": True, "is_superuser": True})
    if created:
        user.set_unusable_password()
        user.save(update_fields=["password"])
    return user


def _hash(token: str) -> str:
    return hashlib.sha256(token.strip().encode("utf-8", "replace")).hexdigest()
