"""Says which site the admin is: read before there are models, so it stands alone."""

from django.contrib.admin.apps import AdminConfig


class HiveAdminConfig(AdminConfig):
    default_site = "dashboard.site.HiveSite"
