"""Register, and activate the account by the link in the mail."""

from django.contrib import messages
from django.contrib.auth import login
from django.contrib.auth.hashers import make_password
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import get_language
from django.utils.translation import gettext as _

from .. import throttle
from ..forms import PasswordForm, RegisterForm
from ..models import EmailVerifyRecord, User
from ..tasks import send_register_email


def register(request: HttpRequest) -> HttpResponse:
    form = RegisterForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        email = form.cleaned_data["email"]
        # Hashing is slow: it is done for every address, so that the time does not tell which have accounts.
        password = make_password(form.cleaned_data["password"])
        with transaction.atomic():
            user, _created = User.objects.get_or_create(email=email, defaults={"is_active": False})
            # Only what changes, and only while it is so: the link of an earlier mail may just be opened.
            User.objects.filter(pk=user.pk, is_active=False).update(
                password=password, language=get_language() or user.language
            )
            # Sent when the transaction is committed, and not at all if it is rolled back.
            send_register_email.delay(email, "register")
        return redirect("users:mail_sent")
    return render(request, "users/register.html", {"form": form})


def mail_sent(request: HttpRequest) -> HttpResponse:
    return render(request, "users/mail_sent.html")


def activate(request: HttpRequest, code: str) -> HttpResponse:
    record = EmailVerifyRecord.objects.valid("register", code=code)
    user = record and User.objects.filter(email=record.email, is_active=False).first()
    if not record or not user:
        return render(request, "users/bad_link.html", {"again": "users:register"}, status=404)
    form = PasswordForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        if not throttle.may_try_password(request, user.email):
            form.add_error(None, _("Too many wrong passwords. Please wait five minutes."))
        elif not user.check_password(form.cleaned_data["password"]):
            form.add_error("password", _("This is not the password of the registration."))
        elif record.use():
            throttle.password_was_right(request, user.email)
            user.is_active = True
            user.save(update_fields=["is_active"])
            login(request, user)
            messages.success(request, _("Welcome! Your account is active."))
            return redirect("courses:list")
    return render(request, "users/activate.html", {"form": form, "email": user.email})
