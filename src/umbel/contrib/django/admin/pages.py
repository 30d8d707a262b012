"""The pages: lists of messages by shelf and of results, a page for each task, and what can be done there.

Looking needs the permission *view*, requeueing, revoking and sending again *change*, deleting *delete*, of messages or results.
Nothing is done by GET. What is done is noted in the history of the admin.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from django.contrib import admin, messages
from django.contrib.admin.models import CHANGE, DELETION, LogEntry
from django.contrib.admin.utils import quote, unquote
from django.contrib.contenttypes.models import ContentType
from django.core.exceptions import PermissionDenied
from django.db.models import Model
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from umbel.contrib.django.admin.describe import (
    SHELF_NAMES,
    entry_of,
    error_line,
    fields_of,
    history_of,
    when_iso,
)
from umbel.contrib.django.admin.lists import MessageList, ResultList, selected_messages, the_message, these
from umbel.contrib.django.admin.queue import NOTHING_KNOWN, SHELVES, Known, Queues, Sight
from umbel.contrib.django.models import Message, Result
from umbel.errors import CallError, UmbelError
from umbel.ports import Shelf, Shelved

__all__ = ["MessageAdmin", "ResultAdmin"]


_NOTHING_SELECTED = gettext_lazy(
    "Items must be selected in order to perform actions on them. No items have been changed."
)


class Action(NamedTuple):
    """Something that can be done with messages."""

    name: str
    label: Any
    permission: str
    shelves: tuple[Shelf, ...]


ACTIONS = (
    Action("requeue", gettext_lazy("Put back into the queue"), "change", ("dead", "parked")),
    Action("revoke", gettext_lazy("Revoke"), "change", ("waiting", "scheduled", "held")),
    Action("terminate", gettext_lazy("Revoke, and stop what runs"), "change", ("held",)),
    Action("delete", gettext_lazy("Delete"), "delete", ("dead", "parked")),
)


if TYPE_CHECKING:
    _ModelAdmin = admin.ModelAdmin[Any]  # at run time it takes no parameters
else:
    _ModelAdmin = admin.ModelAdmin


class _QueueAdmin(_ModelAdmin):
    """What both have in common."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def get_urls(self) -> list[Any]:
        name = f"{self.opts.app_label}_{self.opts.model_name}"

        def wrap(view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
            def here(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
                request.current_app = self.admin_site.name
                return view(request, *args, **kwargs)

            wrapped: Callable[..., HttpResponse] = self.admin_site.admin_view(here)
            return wrapped

        return [
            path("", wrap(self.changelist_view), name=f"{name}_changelist"),
            path("<path:object_id>/history/", wrap(self.history_view), name=f"{name}_history"),
            path("<path:object_id>/", wrap(self.task_view), name=f"{name}_change"),
        ]

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Any:
        """For the history, which is kept by task id: a row need not be there, or be in this database."""
        return self.model(pk=object_id, task_id=object_id)

    def task_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Everything about one call."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        if request.method == "POST":
            return self.act_on_one(request, unquote(object_id))
        return self._task_page(request, unquote(object_id))

    def act_on_one(self, request: HttpRequest, task_id: str) -> HttpResponse:
        """What a button of a task's page asks for."""
        return HttpResponseNotAllowed(["GET"])

    def _task_page(self, request: HttpRequest, task_id: str) -> HttpResponse:
        given = request.GET
        shelf = given.get("shelf", "")
        known, problem, status = NOTHING_KNOWN, "", 200
        try:
            place = shelf if shelf in SHELVES else None
            task, key = "" if task_id == "-" else task_id, given.get("key", "")
            known = Queues().known(task, self.sight(request), shelf=place, key=key)
        except UmbelError as exc:
            problem, status = str(exc), 503
        if not problem and known == NOTHING_KNOWN:
            status = 404
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": _("Task"),
            "task_id": task_id,
            "problem": problem,
            "unknown": status == 404,
            "fields": fields_of(known),
            "message": known.message,
            "history": history_of(known.message),
            "traceback": known.result.traceback if known.result is not None else None,
            "children": _children(known),
            "actions": self.actions_for_one(request, known),
        }
        return TemplateResponse(request, "umbel/admin/task.html", context, status=status)

    def actions_for_one(self, request: HttpRequest, known: Known) -> list[Action]:
        """The buttons of a task's page."""
        return []

    def note(
        self, request: HttpRequest, task_ids: Sequence[str], what: str, *, deleted: bool = False
    ) -> None:
        """Note in the admin's history who did `what`."""
        kind = ContentType.objects.get_for_model(cast("type[Model]", self.model))
        LogEntry.objects.bulk_create(
            LogEntry(
                user_id=request.user.pk,
                content_type=kind,
                object_id=task_id,
                object_repr=task_id[:200],
                action_flag=DELETION if deleted else CHANGE,
                change_message=what,
            )
            for task_id in task_ids
        )

    def sight(self, request: HttpRequest) -> Sight:
        """What the user may look at; a page shows no more of a call, whichever of the two it belongs to."""
        return Sight(messages=self._may_view(request, Message), results=self._may_view(request, Result))

    def _may_view(self, request: HttpRequest, model: type[Model]) -> bool:
        registered = self.admin_site.get_model_admin(model) if self.admin_site.is_registered(model) else None
        return registered is not None and registered.has_view_permission(request)

    def may(self, request: HttpRequest, permission: str) -> bool:
        """Whether the user has the permission ``change`` or ``delete``."""
        has = self.has_delete_permission if permission == "delete" else self.has_change_permission
        return has(request)


def _children(known: Known) -> list[tuple[str, str]]:
    """Ids of the calls that it has made, and where their pages are."""
    found = known.result.children if known.result is not None else None
    ids = [entry[0][0] for entry in found or () if _is_result_tuple(entry)]
    return [(task_id, reverse("admin:umbel_message_change", args=[quote(task_id)])) for task_id in ids[:100]]


def _is_result_tuple(entry: Any) -> bool:
    return bool(
        isinstance(entry, list) and entry and isinstance(entry[0], list) and isinstance(entry[0][0], str)
    )


class MessageAdmin(_QueueAdmin):
    """Messages, by shelf."""

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        """The messages of one shelf."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        if request.method == "POST":
            return self._act(request)
        found = MessageList.of(request, self.sight(request))
        if found.exact is not None:
            return HttpResponseRedirect(reverse("admin:umbel_message_change", args=[quote(found.exact)]))
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": SHELF_NAMES[found.shelf],
            "list": found,
            "entries": [entry_of(message, request.path) for message in found.messages],
            "actions": [
                action
                for action in ACTIONS
                if found.shelf in action.shelves and self.may(request, action.permission)
            ],
        }
        status = 503 if found.problem else 200
        return TemplateResponse(request, "umbel/admin/messages.html", context, status=status)

    def actions_for_one(self, request: HttpRequest, known: Known) -> list[Action]:
        shelf = known.message.shelf if known.message is not None else known.where and known.where.shelf
        return [a for a in ACTIONS if shelf in a.shelves and self.may(request, a.permission)]

    def act_on_one(self, request: HttpRequest, task_id: str) -> HttpResponse:
        return self._act(request, task_id)

    def _act(self, request: HttpRequest, one: str = "") -> HttpResponse:
        """Do what was asked with what was selected, or with the call of the id `one`, and go back to the list."""
        given = request.POST
        action = next((a for a in ACTIONS if a.name == given.get("action")), None)
        shelf = given.get("shelf", "")
        back = (
            reverse("admin:umbel_message_changelist") + f"?shelf={shelf if shelf in SHELVES else SHELVES[0]}"
        )
        if action is None or shelf not in action.shelves:
            messages.warning(request, _("No action selected."))
            return HttpResponseRedirect(back)
        if not self.may(request, action.permission):
            raise PermissionDenied
        place: Shelf = shelf
        try:
            chosen = the_message(request, place, one) if one else selected_messages(request, place)
            if not chosen:
                messages.warning(request, _NOTHING_SELECTED)
                return HttpResponseRedirect(back)
            if action.name == "delete" and not given.get("confirmed"):
                return self._confirm(request, place, chosen)
            self._carry_out(request, action, place, chosen)
        except UmbelError as exc:
            messages.error(request, _("Nothing was changed: %(reason)s") % {"reason": exc})
        return HttpResponseRedirect(back)

    def _confirm(self, request: HttpRequest, shelf: Shelf, chosen: Sequence[Shelved]) -> HttpResponse:
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": _("Are you sure?"),
            "shelf": shelf,
            "count": len(chosen),
            "shown": [
                entry_of(message, reverse("admin:umbel_message_changelist")) for message in chosen[:20]
            ],
            "these": these(chosen),
        }
        return TemplateResponse(request, "umbel/admin/confirm.html", context)

    def _carry_out(
        self, request: HttpRequest, action: Action, shelf: Shelf, chosen: Sequence[Shelved]
    ) -> None:
        queues = Queues()
        ids = [message.task_id or message.key for message in chosen]
        if action.name in ("requeue", "delete"):
            assert shelf == "dead" or shelf == "parked"
            act = queues.requeue if action.name == "requeue" else queues.delete
            count = act(shelf, [message.key for message in chosen])
        else:
            queues.revoke([m.task_id for m in chosen if m.task_id], terminate=action.name == "terminate")
            count = len(chosen)
        if not count:
            messages.warning(request, _NOTHING_SELECTED)
            return
        self.note(request, ids, f"{action.label} ({shelf})", deleted=action.name == "delete")
        said = {
            "requeue": ngettext(
                "%(count)d message was put back into its queue.",
                "%(count)d messages were put back into their queues.",
                count,
            ),
            "delete": ngettext("%(count)d message was deleted.", "%(count)d messages were deleted.", count),
        }.get(
            action.name,
            ngettext(
                "%(count)d call was revoked: it does not begin any more.",
                "%(count)d calls were revoked: they do not begin any more.",
                count,
            ),
        )
        messages.success(request, said % {"count": count})


class ResultAdmin(_QueueAdmin):
    """Results, the latest first."""

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        """The latest results."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        if request.method == "POST":
            return self._act(request, request.POST.getlist("selected"))
        found = ResultList.of(request)
        if found.exact is not None:
            return HttpResponseRedirect(reverse("admin:umbel_result_change", args=[quote(found.exact)]))
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": self.opts.verbose_name_plural,
            "list": found,
            "rows": [
                {
                    "id": row.task_id,
                    "url": f"{request.path}{quote(row.task_id)}/",
                    "state": row.meta.status if row.meta is not None else "?",
                    "task": (row.meta.name or "") if row.meta is not None else "",
                    "ended": when_iso(row.meta.date_done) if row.meta is not None else "",
                    "error": error_line(row.meta) if row.meta is not None else "",
                }
                for row in found.rows
            ],
            "actions": self._actions(request),
        }
        status = 503 if found.problem else 200
        return TemplateResponse(request, "umbel/admin/results.html", context, status=status)

    def _actions(self, request: HttpRequest) -> list[Action]:
        every = (
            Action("retry", gettext_lazy("Send again, as a new call"), "change", ()),
            Action("delete", gettext_lazy("Delete the result"), "delete", ()),
        )
        return [action for action in every if self.may(request, action.permission)]

    def actions_for_one(self, request: HttpRequest, known: Known) -> list[Action]:
        return self._actions(request) if known.result is not None else []

    def act_on_one(self, request: HttpRequest, task_id: str) -> HttpResponse:
        return self._act(request, [task_id])

    def _act(self, request: HttpRequest, task_ids: Sequence[str]) -> HttpResponse:
        back = HttpResponseRedirect(reverse("admin:umbel_result_changelist"))
        action = next((a for a in self._actions(request) if a.name == request.POST.get("action")), None)
        if action is None:
            if request.POST.get("action") in ("retry", "delete"):
                raise PermissionDenied
            messages.warning(request, _("No action selected."))
            return back
        if not task_ids:
            messages.warning(request, _NOTHING_SELECTED)
            return back
        try:
            if action.name == "delete":
                Queues().forget(task_ids)
                self.note(request, task_ids, str(action.label), deleted=True)
                count = len(task_ids)
                said = ngettext("%(count)d result was deleted.", "%(count)d results were deleted.", count)
                messages.success(request, said % {"count": count})
            else:
                self._retry(request, task_ids)
        except UmbelError as exc:
            messages.error(request, _("Nothing was changed: %(reason)s") % {"reason": exc})
        return back

    def _retry(self, request: HttpRequest, task_ids: Sequence[str]) -> None:
        queues = Queues()
        sent: list[str] = []
        left: list[str] = []
        for task_id in task_ids:
            meta = queues.known(task_id, Sight(messages=False, results=True)).result
            try:
                again = queues.send_again(meta) if meta is not None else None
            except (CallError, TypeError) as exc:
                messages.error(request, str(exc))
                left.append(task_id)
                continue
            (sent if again is not None else left).append(task_id)
        if sent:
            self.note(request, sent, _("Sent again"))
            said = ngettext("%(count)d call was sent again.", "%(count)d calls were sent again.", len(sent))
            messages.success(request, said % {"count": len(sent)})
        if left:
            messages.warning(
                request,
                _(
                    "Not sent again: %(ids)s. A result says what was called, and with what, only with the setting "
                    "result_extended."
                )
                % {"ids": ", ".join(left[:10])},
            )
