"""A forgotten password is set anew by the link in a mail."""

from django.contrib import messages
from django.contrib.auth.forms import SetPasswordForm
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _

from ..forms import EmailForm
from ..models import EmailVerifyRecord, User
from ..tasks import send_register_email


def forget(request: HttpRequest) -> HttpResponse:
    form = EmailForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        send_register_email.delay(form.cleaned_data["email"], "forget")
        return redirect("users:mail_sent")
    return render(request, "users/forget.html", {"form": form})


def reset(request: HttpRequest, code: str) -> HttpResponse:
    record = EmailVerifyRecord.objects.valid("forget", code=code)
    user = record and User.objects.filter(email=record.email).first()
    if not record or not user:
        return render(request, "users/bad_link.html", {"again": "users:forget"}, status=404)
    form = SetPasswordForm(user, request.POST or None)
    if request.method == "POST" and form.is_valid() and record.use():
        user.is_active = True  # the link has shown that the address is theirs
        form.save()
        messages.success(request, _("Your password is changed. Please log in with it."))
        return redirect("users:login")
    return render(request, "users/reset.html", {"form": form})
