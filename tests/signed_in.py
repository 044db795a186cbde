"""Somebody who is signed in to a hive's pages, without a browser."""

import html
import re
from http.client import HTTPConnection, HTTPResponse
from urllib.parse import urlencode

from tests.hives import Hive


class SignedIn:
    """By a link that the hive makes for `user`."""

    def __init__(self, hive: Hive, **who: str):
        self.port, self.cookies = hive.port, dict[str, str]()
        self.post("/login", token=hive.ask("link", **who)["url"].partition("#")[2])

    def get(self, path: str) -> str:
        return self._asked("GET", path)[1]

    def field(self, path: str, name: str) -> str:
        """What a form on that page has in its field of that name."""
        found = re.search(rf'name="{name}" value="([^"]+)"', self.get(path))
        assert found, f"no {name} on {path}"
        return html.unescape(found[1])

    def post(self, path: str, **fields: str) -> str:
        """The answer's text; as htmx asks, so that it is the sentence itself."""
        token = self.field("/login" if path == "/login" else "/ask/panic", "csrfmiddlewaretoken")
        headers = {"Content-Type": "application/x-www-form-urlencoded", "Origin": f"http://127.0.0.1:{self.port}"}
        if path != "/login":
            headers["HX-Request"] = "true"
        answer, text = self._asked("POST", path, urlencode({"csrfmiddlewaretoken": token} | fields), headers)
        assert answer.status in (200, 302), text
        return text

    def _asked(
        self, method: str, path: str, body: str | None = None, headers: dict[str, str] | None = None
    ) -> tuple[HTTPResponse, str]:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=20)
        sent = {"Cookie": "; ".join(f"{name}={value}" for name, value in self.cookies.items())}
        connection.request(method, path, body, sent | (headers or {}))
        answer = connection.getresponse()
        text = answer.read().decode()
        for cookie in answer.headers.get_all("Set-Cookie") or []:
            name, _, value = cookie.partition(";")[0].partition("=")
            self.cookies[name] = value
        connection.close()
        return answer, text
