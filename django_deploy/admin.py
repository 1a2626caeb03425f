"""The admin's page "Deployments": what is live on this host, and what changed each time; read only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.decorators import method_decorator
from django.views.decorators.http import require_safe

from django_deploy.models import Deployment
from django_deploy.site import deployments
from django_deploy.site.bars import Bar, bars, duration, legend

if TYPE_CHECKING:
    ModelAdmin = admin.ModelAdmin[Deployment]
else:
    ModelAdmin = admin.ModelAdmin

#: Deployments on a page.
PER_PAGE = 50


@dataclass(frozen=True)
class Row:
    """A deployment as it is shown: with the bars of its phases, and what it took in all."""

    deployment: deployments.Deployment
    bars: list[Bar]

    @property
    def took(self) -> str:
        return duration(self.deployment.seconds) if self.deployment.phases else ""


@admin.register(Deployment)
class DeploymentAdmin(ModelAdmin):
    """Has two views of its own, as there is no table: the history of the host is read each time."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def get_urls(self) -> list[URLPattern]:
        def view(work: Any) -> Any:
            return self.admin_site.admin_view(work)

        name = f"{self.opts.app_label}_{self.opts.model_name}"
        return [
            path("", view(self.changelist_view), name=f"{name}_changelist"),
            path("<int:key>/", view(self.deployment_view), name=f"{name}_change"),
        ]

    @method_decorator(require_safe)
    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        history = self._history(request)
        page = Paginator(history.deployments, PER_PAGE).get_page(request.GET.get("page"))
        shown = list(page)
        longest = max((deployment.seconds for deployment in shown), default=0.0)
        context = {
            "title": "Deployments",
            "page": page,
            "rows": [Row(deployment, bars(deployment, longest)) for deployment in shown],
            "legend": legend(shown),
            **(extra_context or {}),
        }
        return self._render(request, "change_list", history, context)

    @method_decorator(require_safe)
    def deployment_view(self, request: HttpRequest, key: int) -> HttpResponse:
        history = self._history(request)
        deployment = history.find(key)
        if deployment is None:
            return self._return_to_list(request, history)
        context = {
            "title": f"{deployment.title}: {deployment.release}",
            "deployment": deployment,
            "row": Row(deployment, bars(deployment, deployment.seconds)),
        }
        return self._render(request, "change_form", history, context)

    def _return_to_list(self, request: HttpRequest, history: deployments.History) -> HttpResponse:
        """It is no mistake of the visitor's where a load balancer asks another host at each click."""
        text = f"The history of {history.host} has no such deployment: it may be that of another host."
        self.message_user(request, text, messages.WARNING)
        name = f"{self.opts.app_label}_{self.opts.model_name}_changelist"
        return HttpResponseRedirect(reverse(f"admin:{name}", current_app=self.admin_site.name))

    def _history(self, request: HttpRequest) -> deployments.History:
        if not self.has_view_permission(request):
            raise PermissionDenied
        return deployments.read_history()

    def _render(
        self, request: HttpRequest, template: str, history: deployments.History, context: dict[str, Any]
    ) -> HttpResponse:
        request.current_app = self.admin_site.name
        page = {**self.admin_site.each_context(request), "opts": self.opts, "history": history, **context}
        return TemplateResponse(request, f"admin/django_deploy/deployment/{template}.html", page)
