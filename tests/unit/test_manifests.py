"""What is deployed to Kubernetes: known fields only, and no mistake that a cluster would find."""

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from cloudcoil.models.keda import v1alpha1 as keda
from kubernetes_validate import validate  # type: ignore[import-untyped]
from ruamel.yaml import YAML

from tests.project import ROOT
from tests.settings import unread
from worker.lifecycle import UNDER_WAY
from worker.options import parse_options
from worker.settings import Settings
from worker.takeover import HANDOVER
from worker.tracing import FLUSH

Document = dict[str, Any]

DEPLOY = ROOT / "worker" / "deploy"

FILES = sorted(DEPLOY.rglob("*.yaml"))

KUSTOMIZATIONS = [path for path in FILES if path.name == "kustomization.yaml"]

MANIFESTS = [path for path in FILES if path not in KUSTOMIZATIONS]

PAGE = (ROOT / "worker" / "README.md").read_text()

VERSIONS = ["1.30", "1.37"]

POSTGRESQL = {"query", "targetQueryValue", "activationTargetQueryValue"}
"""What the trigger is told, beside what its TriggerAuthentication gives it."""

CONNECTION = {"host", "port", "dbName", "sslmode", "userName", "password"}

KUSTOMIZE = {
    "apiVersion",
    "kind",
    "resources",
    "components",
    "images",
    "configMapGenerator",
    "patches",
    "replacements",
}
"""The fields of kustomizations in use here; their schema is published nowhere."""

WORDS = {
    "concurrencyPolicy": {"Allow", "Forbid", "Replace"},
    "restartPolicy": {"Always", "OnFailure", "Never"},
    "whenUnsatisfiable": {"DoNotSchedule", "ScheduleAnyway"},
}
"""What Kubernetes understands, where its schema takes any text."""

URL = "postgresql://worker:secret@host/database"


class Pod(NamedTuple):
    """A pod as a manifest describes it."""

    owner: str
    labels: Document
    spec: Document

    @property
    def container(self) -> Document:
        """Its only container."""
        [container] = self.spec["containers"]
        assert isinstance(container, dict)
        return container

    @property
    def environ(self) -> dict[str, str]:
        """The environment of its container, with a URL for the one that a Secret holds."""
        own = {each["name"]: each.get("value", URL) for each in self.container["env"]}
        return settings() | own


def read(path: Path) -> list[Document]:
    """The documents of a file; a field that is there twice is an error."""
    return list(YAML(typ="safe", pure=True).load_all(path))


def documents() -> list[Document]:
    """All of them, without the kustomizations."""
    return [document for path in MANIFESTS for document in read(path)]


def of_kind(kind: str) -> Document:
    """The only document of its kind."""
    [document] = [each for each in documents() if each["kind"] == kind]
    return document


def pods() -> list[Pod]:
    """What runs a worker."""
    return pods_of(documents())


def pods_of(documents: list[Document]) -> list[Pod]:
    """The pods that documents describe."""
    specs = [(each["kind"], each.get("spec", {})) for each in documents]
    templates = [
        (kind, spec.get("jobTemplate", {}).get("spec", spec).get("template"))
        for kind, spec in specs
    ]
    return [
        Pod(kind, template["metadata"]["labels"], template["spec"])
        for kind, template in templates
        if template
    ]


def settings() -> dict[str, str]:
    """What all workers are told."""
    [kustomization] = read(DEPLOY / "kubernetes" / "settings" / "kustomization.yaml")
    [generator] = kustomization["configMapGenerator"]
    return dict(literal.split("=", 1) for literal in generator["literals"])


each_pod = pytest.mark.parametrize("each", pods(), ids=lambda each: each.owner)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.stem)
def test_a_manifest_has_known_fields_only(path: Path, version: str) -> None:
    """Also nested ones: a field that nobody knows would do nothing."""
    for document in read(path):
        check(document, version)


def check(document: Document, version: str) -> None:
    """Validate a document; raises for a field that is not in its schema."""
    if document["apiVersion"].startswith("keda.sh/"):
        model = getattr(keda, document["kind"]).model_validate(document)
        # The model takes any field, but keeps only those that it knows.
        assert model.model_dump(mode="json", by_alias=True, exclude_unset=True) == document
    else:
        validate(document, version, strict=True)


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.stem)
def test_a_manifest_has_words_that_kubernetes_understands(path: Path) -> None:
    """Where only an API server would refuse others."""
    for name, value in fields(read(path)):
        assert value in WORDS.get(name, {value})


def fields(value: Any) -> Iterator[tuple[str, Any]]:
    """All fields with a text, however deep."""
    if isinstance(value, dict):
        yield from ((name, each) for name, each in value.items() if isinstance(each, str))
    if isinstance(value, (dict, list)):
        for each in value.values() if isinstance(value, dict) else value:
            yield from fields(each)


@pytest.mark.parametrize("path", KUSTOMIZATIONS, ids=lambda path: path.parent.name)
def test_a_kustomization_names_what_there_is(path: Path) -> None:
    """Files, directories with a kustomization, and fields."""
    [kustomization] = read(path)
    named = [*kustomization.get("resources", []), *kustomization.get("components", [])]

    missing = [each for each in named if not (path.parent / each).exists()]

    assert kustomization.keys() <= KUSTOMIZE
    assert not missing


def test_every_manifest_is_named_by_a_kustomization() -> None:
    """Otherwise nobody would apply it."""
    named = {
        (path.parent / each).resolve()
        for path in KUSTOMIZATIONS
        for each in read(path)[0].get("resources", [])
    }

    assert set(MANIFESTS) <= named


@pytest.mark.parametrize("each", [each for each in pods() if each.owner != "Job"])
def test_a_worker_has_time_to_drain_and_to_hand_over(each: Pod) -> None:
    """Before Kubernetes kills it."""
    drain = Settings.from_env(each.environ).drain_timeout

    grace = each.spec["terminationGracePeriodSeconds"]

    assert grace > UNDER_WAY + drain + FLUSH + HANDOVER


@each_pod
def test_the_worker_reads_and_takes_every_variable(each: Pod) -> None:
    """One with another name would be ignored."""
    assert unread(Settings, each.environ) == set()


@each_pod
def test_the_command_line_is_one_of_the_worker(monkeypatch: pytest.MonkeyPatch, each: Pod) -> None:
    """`python -m worker` exits with 2 for any other."""
    *python, program = each.container["command"][:3]
    monkeypatch.setattr(sys, "argv", [program, *each.container["command"][3:]])

    parse_options()

    assert (python, program) == (["python", "-m"], "worker")


def test_only_the_migration_is_the_owner_of_the_database() -> None:
    """Nobody else may create tables, and so no worker tries to."""
    secrets = {each.owner: reference(each) for each in pods()}

    assert secrets == {"Deployment": "worker", "CronJob": "worker", "Job": "worker-owner"}
    assert settings()["MIGRATE"] == "false"


def reference(each: Pod) -> str:
    """The name of the Secret with the URL of the database."""
    [url] = [e for e in each.container["env"] if e["name"] == "DBOS_SYSTEM_DATABASE_URL"]
    name = url["valueFrom"]["secretKeyRef"]["name"]
    assert isinstance(name, str)
    return name


def test_no_secret_is_in_a_file() -> None:
    """They are made by hand."""
    for path in FILES:
        assert "://" not in re.sub("#.*", "", path.read_text())
    assert "Secret" not in {each["kind"] for each in documents()}
    assert of_kind("TriggerAuthentication")["spec"].keys() == {"secretTargetRef"}
    assert not [name for name in settings() if "URL" in name or "PASSWORD" in name]


@each_pod
def test_probes_ask_where_the_worker_listens(each: Pod) -> None:
    """On HEALTH_PORT, and those that would kill it have patience for a minute, and for a drain."""
    probes = {name: probe for name, probe in each.container.items() if name.endswith("Probe")}
    ports = {port["name"]: str(port["containerPort"]) for port in each.container.get("ports", [])}

    for name, probe in probes.items():
        assert ports[probe["httpGet"]["port"]] == each.environ["HEALTH_PORT"]
        path = "/livez" if name == "livenessProbe" else "/healthz"
        assert probe["httpGet"]["path"] == path
        if name != "readinessProbe":
            assert probe["periodSeconds"] * probe["failureThreshold"] >= 60

    assert (
        probes.keys()
        == {
            "Deployment": {"startupProbe", "readinessProbe", "livenessProbe"},
            "CronJob": {"startupProbe", "livenessProbe"},
            "Job": set(),
        }[each.owner]
    )


@each_pod
def test_a_pod_may_do_nothing_that_a_worker_does_not_need(each: Pod) -> None:
    """The `restricted` profile of Kubernetes, and no more than that."""
    own = each.container["securityContext"]

    assert each.spec["securityContext"]["runAsNonRoot"] is True
    assert each.spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert each.spec["automountServiceAccountToken"] is False
    assert each.spec["enableServiceLinks"] is False
    assert own["readOnlyRootFilesystem"] is True
    assert own["allowPrivilegeEscalation"] is False
    assert own["capabilities"] == {"drop": ["ALL"]}
    assert each.container["resources"].keys() == {"requests", "limits"}


def test_the_page_names_what_there_is() -> None:
    """Its commands begin at the root of the project."""
    named = set(re.findall(r"worker/deploy/[\w/.-]*\w", PAGE))

    assert {name for name in named if not (ROOT / name).exists()} == set()
    assert {
        f"worker/deploy/kubernetes/{name}" for name in ("migrate", "always", "keda/publish")
    } <= named


def test_platforms_on_the_page_leave_a_worker_its_time() -> None:
    """systemd with the default, and Cloud Run, which kills after ten seconds, with less."""
    rest = UNDER_WAY + FLUSH + HANDOVER
    [systemd] = map(int, re.findall("^TimeoutStopSec=([0-9]+)$", PAGE, re.MULTILINE))
    cloud_run = set(map(int, re.findall("DRAIN_TIMEOUT=([0-9]+)", PAGE)))

    assert systemd > rest + Settings.from_env({"DBOS_SYSTEM_DATABASE_URL": URL}).drain_timeout
    assert cloud_run
    assert max(cloud_run) + rest <= 10


def test_selectors_select_the_workers() -> None:
    """And neither migrations nor each other."""
    labels = {each.owner: each.labels for each in pods()}
    workers = of_kind("Deployment")["spec"]
    selectors = [workers["selector"], of_kind("PodDisruptionBudget")["spec"]["selector"]]
    spread = [
        each["labelSelector"] for each in workers["template"]["spec"]["topologySpreadConstraints"]
    ]

    for selector in [*selectors, *spread]:
        assert selector["matchLabels"].items() <= labels["Deployment"].items()
        assert not selector["matchLabels"].items() <= labels["Job"].items()
        assert not selector["matchLabels"].items() <= labels["CronJob"].items()


def test_keda_scales_the_workers_from_nothing() -> None:
    """With names that KEDA knows; others would be ignored."""
    spec = of_kind("ScaledObject")["spec"]
    authentication = of_kind("TriggerAuthentication")
    [trigger] = spec["triggers"]

    assert spec["scaleTargetRef"]["name"] == of_kind("Deployment")["metadata"]["name"]
    assert spec["minReplicaCount"] == 0
    assert trigger["type"] == "postgresql"
    assert trigger["metadata"].keys() <= POSTGRESQL
    assert all(isinstance(value, str) for value in trigger["metadata"].values())
    assert trigger["authenticationRef"]["name"] == authentication["metadata"]["name"]
    given = {each["parameter"] for each in authentication["spec"]["secretTargetRef"]}
    assert given == CONNECTION


def test_keda_counts_for_the_workers_that_it_starts() -> None:
    """The first two literals of the query are theirs, where kustomize puts them, too."""
    literals = query(of_kind("ScaledObject")).split("'")[1:4:2]

    assert literals == [settings()["APP_NAME"], settings()["APP_VERSION"]]


def query(scaled_object: Document) -> str:
    """What KEDA asks Postgres."""
    text = scaled_object["spec"]["triggers"][0]["metadata"]["query"]
    assert isinstance(text, str)
    return text


@pytest.fixture
def rendered(tmp_path: Path) -> dict[str, list[Document]]:
    """What `kubectl apply -k` would apply for each directory, with other settings than ours."""
    if not shutil.which("kubectl"):
        pytest.skip("there is no kubectl")
    copy = shutil.copytree(DEPLOY / "kubernetes", tmp_path / "kubernetes")
    file = copy / "settings" / "kustomization.yaml"
    changed = file.read_text().replace("dbos-functions\n", "shop\n").replace("ION=1", "ION=2026.1")
    file.write_text(changed)
    return {
        path.parent.name: render(path.parent)
        for path in copy.rglob("kustomization.yaml")
        if path != file
    }


def render(directory: Path) -> list[Document]:
    """What `kubectl apply -k` would apply."""
    done = subprocess.run(
        ["kubectl", "kustomize", str(directory)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert not done.stderr
    return list(YAML(typ="safe", pure=True).load_all(done.stdout))


def test_what_is_rendered_holds_together(rendered: dict[str, list[Document]]) -> None:
    """Known fields only, the image of the settings, and the settings by their new name."""
    assert rendered.keys() == {"migrate", "always", "keda", "publish", "cron"}
    for applied in rendered.values():
        for document in applied:
            check(document, VERSIONS[-1])
        [config] = [each for each in applied if each["kind"] == "ConfigMap"]
        for each in pods_of(applied):
            [source] = each.container["envFrom"]
            assert source["configMapRef"]["name"] == config["metadata"]["name"]
            assert each.container["image"] == "registry.example.com/dbos-functions-worker:1"


def test_settings_reach_the_query(rendered: dict[str, list[Document]]) -> None:
    """A version is changed in one place."""
    [scaled_object] = [each for each in rendered["keda"] if each["kind"] == "ScaledObject"]
    [deployment] = [each for each in rendered["keda"] if each["kind"] == "Deployment"]

    ours = query(of_kind("ScaledObject"))
    assert query(scaled_object) == ours.replace("'dbos-functions', '1'", "'shop', '2026.1'")
    assert query(scaled_object) != ours
    assert "replicas" not in deployment["spec"]


def test_publishing_waits_to_be_asked(rendered: dict[str, list[Document]]) -> None:
    """A suspended CronJob is a template for Jobs."""
    [cron_job] = [each for each in rendered["publish"] if each["kind"] == "CronJob"]

    assert cron_job["spec"]["suspend"] is True
    assert cron_job["metadata"]["name"] == "worker-publish"
