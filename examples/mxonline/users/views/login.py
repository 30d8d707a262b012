"""Log in and out; choose a language."""

from django.contrib.auth import views
from django.contrib.auth.forms import AuthenticationForm
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponseBase
from django.utils.translation import check_for_language
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST
from django.views.i18n import set_language

from .. import throttle
from ..models import User


class LoginForm(AuthenticationForm):
    def clean(self) -> dict[str, object]:
        email = self.cleaned_data.get("username", "")
        if not throttle.may_try_password(self.request, email):
            raise ValidationError(_("Too many wrong passwords. Please wait five minutes."))
        cleaned = super().clean()
        throttle.password_was_right(self.request, email)
        return cleaned


class LoginView(views.LoginView):
    form_class = LoginForm
    template_name = "users/login.html"
    redirect_authenticated_user = True


@require_POST
def language(request: HttpRequest) -> HttpResponseBase:
    """Choose the language of the pages, and with an account also that of the mails."""
    chosen = request.POST.get("language", "")
    if request.user.is_authenticated and check_for_language(chosen):
        User.objects.filter(pk=request.user.pk).update(language=chosen)
    return set_language(request)
