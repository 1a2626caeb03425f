"""Signals of the deployer's side: receivers run where ``manage.py deploy`` runs, and not on the hosts.

All come with ``sender=Target`` and ``target``, the ``django_deploy.target.Target``.

``pre_deploy``
    ``plan`` (``django_deploy.plan.model.Plan``). After the plan was confirmed, and before anything changes.
    Whatever a receiver raises ends the deployment; a ``DeployError`` is shown as a message.
``post_deploy``
    ``outcome`` (``django_deploy.undertaking.Outcome``). A new release is live on all hosts.
``deploy_failed``
    ``error`` (``DeployError``) and ``action``: ``"deploy"`` or ``"rollback"``. Whatever failed, from
    the first look at the project on, or it was interrupted.
``post_rollback``
    ``outcome``. An earlier release is live again, by ``deploy_rollback``.

The last three cannot change anything any more: that a receiver failed is a warning.
"""

from __future__ import annotations

from django.dispatch import Signal

pre_deploy = Signal()
post_deploy = Signal()
deploy_failed = Signal()
post_rollback = Signal()
