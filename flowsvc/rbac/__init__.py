"""Least privilege in etcd: roles and users for the flow service, processors and operators.

:mod:`~flowsvc.rbac.policy` says what there shall be, :mod:`~flowsvc.rbac.difference` what is to be
done, both pure; :mod:`~flowsvc.rbac.carrying` does it. What etcd's RBAC is worth, and what it is
not, stands in ``docs/security.md``.
"""

from flowsvc.rbac.carrying import carry_out, in_use, look
from flowsvc.rbac.difference import AddUser, Standing, Step, difference, etcdctl
from flowsvc.rbac.policy import Policy, Role, User, policy
from flowsvc.rbac.processors import described

__all__ = [
    "AddUser",
    "Policy",
    "Role",
    "Standing",
    "Step",
    "User",
    "carry_out",
    "described",
    "difference",
    "etcdctl",
    "in_use",
    "look",
    "policy",
]
