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
from ..forms import CodeForm, EmailForm
from ..models import EmailVerifyRecord, User
from ..tasks import send_register_email


@login_required
def profile(request: HttpRequest) -> HttpResponse:
    return render(request, "users/profile.html")


@login_required
def new_address(request: HttpRequest) -> HttpResponse:
    form = EmailForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        email = form.cleaned_data["email"]
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
            and _move(request.user.email, email)
        ):
            del request.session["new_email"]
            messages.success(request, _("Your address is changed."))
            return redirect("users:profile")
        form.add_error("code", _("This code is wrong or no longer valid."))
    return render(request, "users/confirm_address.html", {"form": form, "email": email})


def _move(old: str, new: str) -> bool:
    """False when the new address has got an account of its own in the meantime."""
    try:
        with transaction.atomic():
            User.objects.filter(email=old).update(email=new)
    except IntegrityError:
        return False
    return True
