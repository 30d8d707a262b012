"""One's own account: change its address by a code that is mailed to the new one."""

from typing import cast

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.db import IntegrityError, transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import get_language
from django.utils.translation import gettext as _

from .. import throttle
from ..forms import CodeForm, NewAddressForm
from ..models import EmailVerifyRecord, User
from ..tasks import send_address_changed, send_register_email


@login_required
def profile(request: HttpRequest) -> HttpResponse:
    return render(request, "users/profile.html")


@login_required
def new_address(request: HttpRequest) -> HttpResponse:
    form, user = NewAddressForm(request.POST or None), cast(User, request.user)
    if request.method == "POST" and form.is_valid():
        email = form.cleaned_data["email"]
        if not throttle.may_try_password(request, user.email):
            form.add_error(None, _("Too many wrong passwords. Please wait five minutes."))
        elif not user.check_password(form.cleaned_data["password"]):
            form.add_error("password", _("This password is wrong."))
        else:
            throttle.password_was_right(request, user.email)
            request.session["new_email"] = email
            send_register_email.delay(email, "update_email", language=get_language())
            return redirect("users:confirm_address")
    return render(request, "users/new_address.html", {"form": form})


@login_required
def confirm_address(request: HttpRequest) -> HttpResponse:
    user, email = cast(User, request.user), request.session.get("new_email")
    if not email:
        return redirect("users:new_address")
    form = CodeForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        record = EmailVerifyRecord.objects.valid("update_email", email=email)
        if (
            throttle.may_try_code(user)
            and record
            and record.guess(form.cleaned_data["code"])
            and record.use()
            and _move(user, email)
        ):
            del request.session["new_email"]
            messages.success(request, _("Your address is changed."))
            return redirect("users:profile")
        form.add_error("code", _("This code is wrong or no longer valid."))
    return render(request, "users/confirm_address.html", {"form": form, "email": email})


def _move(user: User, new: str) -> bool:
    """False when the new address has got an account of its own in the meantime."""
    try:
        with transaction.atomic():
            User.objects.filter(pk=user.pk).update(email=new)
            send_address_changed.delay(user.email, get_language() or user.language)
    except IntegrityError:
        return False
    return True
