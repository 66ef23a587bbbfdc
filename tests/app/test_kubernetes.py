"""What the manifest for Kubernetes asks for; tests/app/test_docs.py checks it against Kubernetes's schema."""

import re

from tests.support.image import instructions
from tests.support.kubernetes import manifest
from tests.support.world import ROOT

PARTS = manifest(ROOT / "deploy" / "kubernetes.yaml")
DEPLOYMENT = PARTS["Deployment"]["spec"]
POD = DEPLOYMENT["template"]["spec"]
(APP,) = POD["containers"]


def test_the_pod_has_no_rights_that_it_does_not_need() -> None:
    image = dict(instructions((ROOT / "Dockerfile").read_text()))
    user = int(image["USER"])
    wanted = {"runAsNonRoot": True, "runAsUser": user, "runAsGroup": user, "fsGroup": user}
    assert POD["securityContext"].items() >= wanted.items()
    assert POD["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert POD["automountServiceAccountToken"] is False
    assert APP["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert APP["volumeMounts"] == [{"name": "ledger", "mountPath": image["VOLUME"]}]
    assert APP["ports"] == [{"name": "http", "containerPort": int(image["EXPOSE"])}]
    assert {"name": "PORT", "value": image["EXPOSE"]} in APP["env"]


def test_no_outage_of_conveyor_takes_a_pod_out_of_service() -> None:
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert APP[probe]["httpGet"] == {"path": "/healthz", "port": "http"}


def test_the_parts_name_each_other() -> None:
    labels = DEPLOYMENT["template"]["metadata"]["labels"]
    assert DEPLOYMENT["selector"]["matchLabels"] == labels == PARTS["Service"]["spec"]["selector"]
    claim = PARTS["PersistentVolumeClaim"]["metadata"]["name"]
    assert POD["volumes"] == [{"name": "ledger", "persistentVolumeClaim": {"claimName": claim}}]


def test_the_ingress_lets_through_what_nginx_does() -> None:
    (rule,) = PARTS["Ingress"]["spec"]["rules"]
    there = re.findall(r"location = (\S+)", (ROOT / "deploy" / "nginx.conf").read_text())
    assert sorted(path["path"] for path in rule["http"]["paths"]) == sorted(there)
    service = {"name": PARTS["Service"]["metadata"]["name"], "port": {"name": "http"}}
    for path in rule["http"]["paths"]:
        assert (path["pathType"], path["backend"]) == ("Exact", {"service": service})
