"""The site for a WSGI server: ``gunicorn MxOnline.wsgi``."""

import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "MxOnline.settings")
application = get_wsgi_application()
