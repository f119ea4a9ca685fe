"""The Helm chart: what a real Helm makes of it is what Kubernetes' schemas take, and Lineal's settings are right."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from lineal import __version__
from lineal.settings import Settings
from tests.helm import helm
from tests.shipping.conftest import TOP

CHART = TOP / "deploy" / "helm" / "lineal"
OLDEST, NEWEST = "1.27", "1.37"
"""Versions of Kubernetes: the one that the chart asks for, and the last one whose schemas the tests have."""
VALUES = sorted((CHART / "ci").glob("*-values.yaml"))

Manifests = Mapping[str, Mapping[str, Any]]


def rendered(values: Path, *more: str) -> Manifests:
    """The manifests by kind and name, of a release `prod`."""
    done = helm("template", "prod", CHART, "--values", values, "--kube-version", f"{NEWEST}.0", *more)
    assert done.returncode == 0, done.stderr
    return {f"{each['kind']}/{each['metadata']['name']}": each for each in yaml.safe_load_all(done.stdout) if each}


@pytest.fixture(scope="module")
def small() -> Manifests:
    return rendered(CHART / "ci" / "small-values.yaml")


@pytest.fixture(scope="module")
def full() -> Manifests:
    return rendered(CHART / "ci" / "full-values.yaml")


def container(manifest: Mapping[str, Any]) -> Mapping[str, Any]:
    (only,) = manifest["spec"]["template"]["spec"]["containers"]
    return only  # type: ignore[no-any-return]


def variables(manifest: Mapping[str, Any]) -> dict[str, str]:
    """The variables of its container; a secret has the name that it is asked for by."""
    return {
        each["name"]: each["value"] if "value" in each else "/".join(each["valueFrom"]["secretKeyRef"].values())
        for each in container(manifest)["env"]
    }


def loaded(
    manifests: Manifests, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, of: str = "Deployment/prod-lineal"
) -> Settings:
    """The settings as the process in a pod has them: from its variables, and the file that it mounts."""
    told = variables(manifests[of])
    (mount,) = (each for each in container(manifests[of])["volumeMounts"] if each["mountPath"] == told["LINEAL_CONFIG"])
    volumes = {each["name"]: each for each in manifests[of]["spec"]["template"]["spec"]["volumes"]}
    config = manifests[f"ConfigMap/{volumes[mount['name']]['configMap']['name']}"]
    file = tmp_path / "lineal.toml"
    file.write_text(config["data"][mount["subPath"]])
    for name, value in told.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("LINEAL_CONFIG", str(file))
    return Settings.load()


@pytest.mark.parametrize("values", VALUES, ids=lambda path: path.stem)
def test_helm_has_nothing_to_say_against_it(values: Path) -> None:
    done = helm("lint", "--strict", CHART, "--values", values, "--kube-version", f"{NEWEST}.0")
    assert done.returncode == 0, done.stdout
    assert "[WARNING]" not in done.stdout


@pytest.mark.parametrize("version", [OLDEST, NEWEST])
@pytest.mark.parametrize("values", VALUES, ids=lambda path: path.stem)
def test_kubernetes_takes_every_manifest(values: Path, version: str) -> None:
    known = [each for each in rendered(values).values() if not each["apiVersion"].startswith("monitoring.coreos.com/")]
    assert len(known) >= 7
    for manifest in known:
        kubernetes_validate.validate(manifest, version, strict=True)


def test_the_schemas_would_refuse_a_wrong_one(small: Manifests) -> None:
    wrong = {**small["Service/prod-lineal"], "spec": {"ports": "http"}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, NEWEST, strict=True)


@pytest.mark.parametrize("values", ["small", "full"])
def test_lineal_takes_the_settings_that_it_is_given(
    values: str, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = loaded(request.getfixturevalue(values), tmp_path, monkeypatch)
    assert (settings.host, settings.port) == ("0.0.0.0", 8321)
    assert settings.identifier == "https://lineal.example.org/graphql"
    if values == "full":
        assert settings.s3.endpoint == "https://minio.example.org"
        assert settings.issuers[0].scopes_map == {"curator": ("model:read", "model:write")}
        assert settings.graph_password is not None
        assert settings.graph_password.get_secret_value() == "password/graph"


def test_the_job_that_migrates_has_the_settings_before_the_release_has_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifests = rendered(VALUES[-1], "--set", "settings.graph_ca=/etc/lineal/more/ca.pem")
    job = "Job/prod-lineal-migrate"
    assert str(loaded(manifests, tmp_path, monkeypatch, job).graph_ca) == "/etc/lineal/more/ca.pem"
    hooks = [manifests[name]["metadata"]["annotations"] for name in (job, "ConfigMap/prod-lineal-migrate")]
    assert {each["helm.sh/hook"] for each in hooks} == {"pre-install,pre-upgrade"}
    assert int(hooks[1]["helm.sh/hook-weight"]) < int(hooks[0].get("helm.sh/hook-weight", 0))


@pytest.mark.parametrize("values", ["small", "full"])
def test_a_pod_gets_the_time_that_lineal_needs_to_stop(
    values: str, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifests: Manifests = request.getfixturevalue(values)
    settings = loaded(manifests, tmp_path, monkeypatch)
    pod = manifests["Deployment/prod-lineal"]["spec"]["template"]["spec"]
    assert pod["terminationGracePeriodSeconds"] >= settings.drain_seconds + settings.stop_seconds + 10
    probe = container(manifests["Deployment/prod-lineal"])["readinessProbe"]
    assert settings.drain_seconds >= probe["periodSeconds"] * probe["failureThreshold"]


def test_no_secret_is_in_a_manifest_but_by_its_name(full: Manifests) -> None:
    assert not [name for name in full if name.startswith("Secret/")]
    told = tomllib.loads(full["ConfigMap/prod-lineal"]["data"]["lineal.toml"])
    assert not [name for name in told if any(word in name for word in ("password", "secret", "token"))]
    for each in container(full["Deployment/prod-lineal"])["env"]:
        if "PASSWORD" in each["name"] or "KEY" in each["name"].removeprefix("LINEAL_KEYS"):
            assert set(each) == {"name", "valueFrom"}


@pytest.mark.parametrize("name", ["Deployment/prod-lineal", "Job/prod-lineal-migrate"])
def test_nothing_runs_as_root_or_can_write_to_its_image(full: Manifests, name: str) -> None:
    pod = full[name]["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] == 65532
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["automountServiceAccountToken"] is False
    assert container(full[name])["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def test_several_serve_and_one_goes_at_a_time(small: Manifests, full: Manifests) -> None:
    assert small["Deployment/prod-lineal"]["spec"]["replicas"] == 3
    assert small["Deployment/prod-lineal"]["spec"]["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}
    assert small["PodDisruptionBudget/prod-lineal"]["spec"]["maxUnavailable"] == 1
    assert "replicas" not in full["Deployment/prod-lineal"]["spec"]
    assert full["HorizontalPodAutoscaler/prod-lineal"]["spec"]["minReplicas"] == 3


def test_what_selects_the_pods_selects_them_and_not_the_job(full: Manifests) -> None:
    labels = full["Deployment/prod-lineal"]["spec"]["template"]["metadata"]["labels"].items()
    job = full["Job/prod-lineal-migrate"]["spec"]["template"]["metadata"]["labels"].items()
    selectors = [
        full["Service/prod-lineal"]["spec"]["selector"],
        full["PodDisruptionBudget/prod-lineal"]["spec"]["selector"]["matchLabels"],
        full["NetworkPolicy/prod-lineal"]["spec"]["podSelector"]["matchLabels"],
        full["Deployment/prod-lineal"]["spec"]["selector"]["matchLabels"],
    ]
    for selector in selectors:
        assert selector.items() <= labels
        assert not selector.items() <= job


def test_prometheus_gets_the_rules_and_alerts_of_deploy(full: Manifests) -> None:
    for name in ("rules", "alerts"):
        committed = yaml.safe_load((TOP / "deploy" / "prometheus" / f"{name}.yaml").read_text(encoding="utf-8"))
        assert full[f"PrometheusRule/prod-lineal-{name}"]["spec"] == committed
    (endpoint,) = full["ServiceMonitor/prod-lineal"]["spec"]["endpoints"]
    assert (endpoint["port"], endpoint["path"]) == ("http", "/metrics")
    assert (
        full["ServiceMonitor/prod-lineal"]["spec"]["selector"]["matchLabels"].items()
        <= full["Service/prod-lineal"]["metadata"]["labels"].items()
    )


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ("replica=3", "replica"),
        ("resource=lineal", "resource"),
        ("settings.storage=", "storage"),
        # Files there would go with the pod, and no other process would have them.
        ("settings.storage=/var/lib/lineal/files", "storage"),
        ("settings.storage=s3://", "storage"),
        ("graph.url=sqlite:///lineal.db", "url"),
    ],
)
def test_a_wrong_value_is_refused_by_its_name(wrong: str, told: str) -> None:
    done = helm("template", "prod", CHART, "--values", VALUES[-1], "--kube-version", f"{NEWEST}.0", "--set", wrong)
    assert done.returncode != 0
    assert told in done.stderr


def test_files_may_be_in_a_volume_that_is_mounted_for_them() -> None:
    mounted = "extraVolumeMounts[0].name=files,extraVolumeMounts[0].mountPath=/srv/files"
    for folder in ("/srv/files", "/srv/files/lineal"):
        manifests = rendered(VALUES[-1], "--set", f"settings.storage={folder},{mounted}")
        assert tomllib.loads(manifests["ConfigMap/prod-lineal"]["data"]["lineal.toml"])["storage"] == folder
    with pytest.raises(AssertionError, match=r"settings\.storage: /srv/files2 is in no volume"):
        rendered(VALUES[-1], "--set", f"settings.storage=/srv/files2,{mounted}")


def test_it_is_of_the_version_that_it_is_shipped_with() -> None:
    assert yaml.safe_load((CHART / "Chart.yaml").read_text(encoding="utf-8"))["appVersion"] == __version__
