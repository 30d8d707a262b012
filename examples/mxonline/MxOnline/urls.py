"""The site's addresses."""

from django.contrib import admin
from django.urls import include, path

urlpatterns = [
    path("", include("courses.urls")),
    path("", include("users.urls")),
    path("admin/", admin.site.urls),
]
