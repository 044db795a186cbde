"""The settings of a command that only asks the running hive: the host's, without its apps and its database."""

from hyperhive.settings import *  # noqa: F403

INSTALLED_APPS = ["hyperhive"]
