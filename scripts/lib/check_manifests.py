"""Checks rendered manifests against Kubernetes' schemas and against the program: check_manifests.py FILE PROGRAM.

Needs PyYAML and kubernetes-validate. Ends with 1 and a line for each fault.
"""

import re
import subprocess
import sys
from pathlib import Path

import kubernetes_validate
import yaml

# the schemas do not cover custom resources
CUSTOM = {"monitoring.coreos.com", "keda.sh"}
ROOT = Path(__file__).resolve().parent.parent.parent
faults = []


def fault(where, what):
    faults.append(f"{where}: {what}")


def containers(document):
    template = document.get("spec", {}).get("template", {})
    return template.get("spec", {}).get("containers", []) if isinstance(template, dict) else []


def check_container(where, document, container, program):
    pod = document["spec"]["template"]["spec"]
    if pod["securityContext"].get("runAsNonRoot") is not True or pod.get("automountServiceAccountToken") is not False:
        fault(where, "runs as root or holds a token of the API")
    security = container["securityContext"]
    if not security.get("readOnlyRootFilesystem") or security.get("allowPrivilegeEscalation") is not False:
        fault(where, "the root file system is writable, or privileges may grow")
    command = [program, *map(str, container["args"]), "--help"]
    if subprocess.run(command, capture_output=True, check=False).returncode != 0:
        fault(where, f"the program does not know {container['args']}")
    settings = (ROOT / "docs/settings.md").read_text()
    for variable in container.get("env", []):
        name = variable["name"]
        known = name.removeprefix("TIDEMARK_")
        if name.startswith("TIDEMARK_") and f"`{known}`" not in settings and f"`{name}`" not in settings:
            fault(where, f"docs/settings.md does not know {name}")
    mounted = {mount["name"] for mount in container.get("volumeMounts", [])}
    if mounted != {volume["name"] for volume in pod.get("volumes", [])}:
        fault(where, "volumes and their mounts differ")
    ports = {port["name"]: port["containerPort"] for port in container.get("ports", [])}
    router = (ROOT / "crates/cli/src/http.rs").read_text() + (ROOT / "crates/cli/src/http/health.rs").read_text()
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        if document["kind"] == "Deployment" and probe not in container:
            fault(where, f"no {probe}")
        if probe in container:
            get = container[probe]["httpGet"]
            if get["port"] not in ports or f'"{get["path"]}"' not in router:
                fault(where, f"{probe} asks {get}")


def check(documents, program):
    workloads = {}
    for document in documents:
        where = f"{document['kind']} {document['metadata']['name']}"
        if document["apiVersion"].split("/")[0] not in CUSTOM:
            try:
                kubernetes_validate.validate(document, "1.34", strict=True)
            except kubernetes_validate.ValidationError as error:
                fault(where, error.message)
        for container in containers(document):
            check_container(where, document, container, program)
        if document["kind"] == "Deployment":
            workloads[document["metadata"]["name"]] = document
            wanted = document["spec"]["selector"]["matchLabels"]
            labels = document["spec"]["template"]["metadata"]["labels"]
            if not wanted.items() <= labels.items():
                fault(where, "its selector does not find its pods")
        if document["kind"] == "Job" and "pre-upgrade" not in document["metadata"]["annotations"]["helm.sh/hook"]:
            fault(where, "migrations are no hook")
    backends = {
        path["backend"]["service"]["name"]
        for document in documents
        if document["kind"] == "Ingress"
        for rule in document["spec"]["rules"]
        for path in rule["http"]["paths"]
    }
    for name in backends - {document["metadata"]["name"] for document in documents if document["kind"] == "Service"}:
        fault("Ingress", f"there is no service {name}")
    metrics = "".join(path.read_text() for path in (ROOT / "crates").glob("*/src/metrics.rs"))
    for document in documents:
        where = f"{document['kind']} {document['metadata']['name']}"
        target = document.get("spec", {}).get("scaleTargetRef")
        if target and target["name"] not in workloads:
            fault(where, f"scales {target['name']}, which is not there")
        if target and "replicas" in workloads.get(target["name"], {"spec": {}})["spec"]:
            fault(where, "the deployment has a number of its own too")
        for trigger in document.get("spec", {}).get("triggers", []) if document["kind"] == "ScaledObject" else []:
            for name in re.findall(r"tidemark_[a-z_]+", trigger["metadata"].get("query", "")):
                if f'"{name}"' not in metrics:
                    fault(where, f"there is no metric {name}")
        named = [port["targetPort"] for port in document["spec"]["ports"]] if document["kind"] == "Service" else []
        for rule in document["spec"].get("ingress", []) if document["kind"] == "NetworkPolicy" else []:
            named += [port["port"] for port in rule["ports"]]
        known = {port["name"] for workload in workloads.values() for one in containers(workload) for port in one["ports"]}
        for name in set(named) - known:
            fault(where, f"no container has a port {name}")
        selector = document.get("spec", {}).get("selector", {})
        selector = selector.get("matchLabels", selector) if document["kind"] in {"Service", "PodDisruptionBudget"} else {}
        if selector and not any(
            selector.items() <= workload["spec"]["template"]["metadata"]["labels"].items() for workload in workloads.values()
        ):
            fault(where, "selects no pod")


check([document for document in yaml.safe_load_all(Path(sys.argv[1]).read_text()) if document], sys.argv[2])
for line in faults:
    print(line, file=sys.stderr)
sys.exit(1 if faults else 0)
