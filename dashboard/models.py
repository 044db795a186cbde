"""Sign-in links: each is good once, and only its hash is kept."""

from django.db import models

from .indexing import Indexed as Indexed
from .indexing import Minute as Minute


class SignInLink(models.Model):
    sha256 = models.CharField(max_length=64, primary_key=True)
    expires_at = models.DateTimeField()

    def __str__(self) -> str:
        return f"link until {self.expires_at:%H:%M:%S}"
