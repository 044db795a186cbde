"""The host's front door: settings, verbs, the daemon, the command line."""

__version__ = "0.1.0"
