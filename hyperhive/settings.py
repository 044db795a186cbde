"""The host's settings, as a menu: every `HIVE_*` variable is here with its default. A fresh checkout runs."""

import os
import secrets
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
ROOT = os.geteuid() == 0


def env(name: str, default: str) -> str:
    return os.environ.get(name) or default


def _state_dir() -> str:
    if ROOT:
        return "/var/lib/hyperhive"
    return env("XDG_STATE_HOME", str(Path.home() / ".local/state")) + "/hyperhive"


def _runtime_dir() -> str:
    if ROOT:
        return "/run/hyperhive"
    if runtime := os.environ.get("XDG_RUNTIME_DIR"):
        return f"{runtime}/hyperhive"
    return f"/tmp/hyperhive-{os.geteuid()}"  # noqa: S108 (made 0700 and checked for its owner before use)


# ---- where ------------------------------------------------------------------------------------------------------------
HIVE_STATE_DIR = Path(env("HIVE_STATE_DIR", _state_dir()))
HIVE_RUNTIME_DIR = Path(env("HIVE_RUNTIME_DIR", _runtime_dir()))
# Bytes of the disk that are kept in reserve: given back when it is full, so that acks and reads go on.
HIVE_DISK_RESERVE = int(env("HIVE_DISK_RESERVE", str(16 * 1024 * 1024)))
HIVE_BIND = env("HIVE_BIND", "127.0.0.1:7000")
# How people reach the pages, as links say it; '' is http:// and HIVE_BIND.
HIVE_URL = env("HIVE_URL", "").rstrip("/")
# Ports that show one agent's page each: the manager's, then a range to hash names into. Empty: none.
HIVE_MANAGER_PORT = os.environ.get("HIVE_MANAGER_PORT", "8000")
HIVE_AGENT_PORTS = os.environ.get("HIVE_AGENT_PORTS", "8100-8999")

# ---- agents -----------------------------------------------------------------------------------------------------------
HIVE_DRIVER = env("HIVE_DRIVER", "")  # '' chooses the best that this machine can do
HIVE_CLAUDE = env("HIVE_CLAUDE", "")  # '' finds the one that bin/setup installed, else `claude` on PATH
HIVE_TRUST_AGENTS = env("HIVE_TRUST_AGENTS", "") == "1"
# Whether agents are rebuilt by themselves, between two turns, after an upgrade of the hive or of the CLI.
HIVE_AUTO_UPDATE = env("HIVE_AUTO_UPDATE", "1") == "1"
HIVE_MODEL = env("HIVE_MODEL", "sonnet")
# Where the model API is, if not at Anthropic's; and the file that holds its key, which then never enters a container.
HIVE_MODEL_URL = env("HIVE_MODEL_URL", "")
HIVE_ANTHROPIC_API_KEY_FILE = env("HIVE_ANTHROPIC_API_KEY_FILE", "")
HIVE_TURN_TIMEOUT = int(env("HIVE_TURN_TIMEOUT", "1800"))  # seconds
HIVE_IDLE_TIMEOUT = int(env("HIVE_IDLE_TIMEOUT", "600"))  # seconds without an event
# For every agent whose configuration does not say otherwise.
HIVE_AGENT_MEMORY_MAX = env("HIVE_AGENT_MEMORY_MAX", "4G")
HIVE_AGENT_CPU_QUOTA = env("HIVE_AGENT_CPU_QUOTA", "200%")
HIVE_AGENT_TASKS_MAX = int(env("HIVE_AGENT_TASKS_MAX", "2048"))
# Dollars that each agent may spend from midnight to midnight UTC before no turn of its begins any more; 0: as it likes.
HIVE_DAILY_BUDGET_USD = float(env("HIVE_DAILY_BUDGET_USD", "0"))
# Of all its files together; 0 for no limit. Bytes, or with K, M, G, T, as in an agent's configuration.
HIVE_AGENT_DISK_MAX = env("HIVE_AGENT_DISK_MAX", "10G")
HIVE_UID_BASE = int(env("HIVE_UID_BASE", "0"))  # 0: derived from the state directory

# ---- agents that are NixOS containers (the NixOS module sets these) ---------------------------------------------------
# Flakes by store path or revision: a path that changes would go on being built as it once was.
HIVE_FLAKE_URL = env("HIVE_FLAKE_URL", "")
HIVE_NIXPKGS_URL = env("HIVE_NIXPKGS_URL", "")
HIVE_BUILD_TIMEOUT = int(env("HIVE_BUILD_TIMEOUT", "3600"))  # seconds

# ---- messages ---------------------------------------------------------------------------------------------------------
HIVE_MESSAGE_RETENTION_DAYS = int(env("HIVE_MESSAGE_RETENTION_DAYS", "30"))
# What is kept of each agent's events in the database; older ones go to files, one per day.
HIVE_EVENTS_BYTES = int(env("HIVE_EVENTS_BYTES", str(64 * 1024 * 1024)))
# What those files may take of the disk, for each agent.
HIVE_EVENTS_FILES_BYTES = int(env("HIVE_EVENTS_FILES_BYTES", str(1024 * 1024 * 1024)))
HIVE_APPROVAL_EXPIRY_DAYS = int(env("HIVE_APPROVAL_EXPIRY_DAYS", "14"))

# ---- word outside that something waits (dashboard/notices.py) ---------------------------------------------------------
# A webhook that takes JSON, and a topic of ntfy with its token; `_FILE`: the file that holds the address, as a secret.
HIVE_NOTIFY_URL = env("HIVE_NOTIFY_URL", "")
HIVE_NOTIFY_URL_FILE = env("HIVE_NOTIFY_URL_FILE", "")
HIVE_NTFY_URL = env("HIVE_NTFY_URL", "")
HIVE_NTFY_URL_FILE = env("HIVE_NTFY_URL_FILE", "")
HIVE_NTFY_TOKEN_FILE = env("HIVE_NTFY_TOKEN_FILE", "")
HIVE_NOTIFY = env("HIVE_NOTIFY", "approval,letter,failing,login").split(",")
HIVE_NOTIFY_REMIND_HOURS = float(env("HIVE_NOTIFY_REMIND_HOURS", "0"))  # 0: once only

# ---- watching the hive ------------------------------------------------------------------------------------------------
HIVE_METRICS_TOKEN_FILE = env("HIVE_METRICS_TOKEN_FILE", "")  # '': there is no /metrics
HIVE_LOG_FORMAT = "json" if env("HIVE_LOG_FORMAT", "plain") == "json" else "plain"


# ---- Django -----------------------------------------------------------------------------------------------------------
def _secret_key() -> str:
    """Made once per hive; a command that runs before there is one gets a key that nothing outlives."""
    try:
        return (HIVE_STATE_DIR / "secret_key").read_text().strip() or secrets.token_urlsafe(48)
    except OSError:
        return secrets.token_urlsafe(48)


SECRET_KEY = _secret_key()
DEBUG = False
ALLOWED_HOSTS = [
    host for host in env("HIVE_ALLOWED_HOSTS", "127.0.0.1,localhost,[::1],hive.localhost").split(",") if host
]
USE_TZ = True
TIME_ZONE = "UTC"
ROOT_URLCONF = "hyperhive.urls"
ASGI_APPLICATION = "hyperhive.asgi.application"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

INSTALLED_APPS = [
    "daphne",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
    "channels",
    "django_htmx",
    "huey.contrib.djhuey",
    "broker",
    "agents",
    "lifecycle",
    "approvals",
    "dashboard",
    "hyperhive",
    "dashboard.admin_config.HiveAdminConfig",  # last, so that our templates of its pages come first
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "dashboard.middleware.headers",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.auth.middleware.LoginRequiredMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "dashboard.middleware.Roles",
    "dashboard.middleware.agent_ports",
]

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "dashboard.parts.frame",
                "dashboard.look.look",
                "dashboard.roles.frame",
            ]
        },
    }
]

DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": HIVE_STATE_DIR / "hive.sqlite3",
        "OPTIONS": {
            # FULL: a commit is on disk before anybody hears of it. IMMEDIATE: writers queue instead of failing.
            # KiB of pages that each thread's connection keeps: they are void as soon as another one has written.
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA journal_size_limit=67108864; "
            "PRAGMA cache_size=-1000",
            "transaction_mode": "IMMEDIATE",
            "timeout": 10,
        },
        "TEST": {"NAME": None},
    }
}

# In memory: Huey only nudges (it delivers at most once anyway), what is to be done stands in our tables.
HUEY = {"huey_class": "huey.MemoryHuey", "name": "hive", "immediate": False}

# ---- sign-in ----------------------------------------------------------------------------------------------------------
LOGIN_URL = "/login"
LOGIN_REDIRECT_URL = "/"
SESSION_COOKIE_NAME = "hive_session"
SESSION_COOKIE_AGE = 12 * 3600
SESSION_COOKIE_SAMESITE = "Strict"
SESSION_COOKIE_HTTPONLY = True
CSRF_USE_SESSIONS = True
CSRF_FAILURE_VIEW = "dashboard.views.csrf_failure"
X_FRAME_OPTIONS = "DENY"
# Not "no-referrer": under it a browser sends "Origin: null" with every form, which the CSRF check refuses.
SECURE_REFERRER_POLICY = "same-origin"
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_CROSS_ORIGIN_OPENER_POLICY = "same-origin"
DATA_UPLOAD_MAX_MEMORY_SIZE = 1024 * 1024

# ---- files that the pages need ----------------------------------------------------------------------------------------
STATIC_URL = "/static/"
# Served out of the packages as they are: nothing to collect, nothing stale.
WHITENOISE_USE_FINDERS = True
WHITENOISE_AUTOREFRESH = False
WHITENOISE_ALLOW_ALL_ORIGINS = False

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"plain": {"()": "hyperhive.logs.Plain"}, "json": {"()": "hyperhive.logs.Json"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": HIVE_LOG_FORMAT}},
    "loggers": {
        "hive": {"handlers": ["console"], "level": env("HIVE_LOG_LEVEL", "INFO"), "propagate": False},
        "django.request": {"handlers": ["console"], "level": "ERROR", "propagate": False},
        "daphne": {"handlers": ["console"], "level": "WARNING", "propagate": False},
        "huey": {"handlers": ["console"], "level": "WARNING", "propagate": False},
    },
}
