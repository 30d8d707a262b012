"""What every page may show."""

from django.conf import settings
from django.http import HttpRequest


def site(request: HttpRequest) -> dict[str, object]:
    return {"MAIL_PAGE_URL": settings.MAIL_PAGE_URL}
