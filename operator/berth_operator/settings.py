"""The operator's configuration: one YAML file from the chart, read once at start.

The environment is read here and nowhere else; the rest of the operator gets a frozen value.
"""

from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from typing import Any, Final

import yaml
from pydantic import ConfigDict, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails

from berth_api import engine_versions, names
from berth_api.quantity import parse_bytes, parse_millicpu
from berth_api.shape import ShapeReport
from berth_api.spec import DNS_LABEL, ApiModel, DType, Toleration
from berth_operator.errors import ConfigurationError

ENGINE_VERSION: Final = r"^[0-9]\.[0-9]{1,3}(\.[0-9]{1,3})?$"
COMPUTE: Final = r"^[0-9]{1,2}\.[0-9]$"
DEFAULT_CONFIG_PATH: Final = Path("/etc/berth/config.yaml")


class Device(str, Enum):
    CUDA = "cuda"
    ROCM = "rocm"
    CPU = "cpu"


class SettingsModel(ApiModel):
    """A misspelt key in the chart's values must be an error, not silence."""

    model_config = ConfigDict(extra="forbid")


class EngineProfile(SettingsModel):
    """How one build of the engine is run."""

    name: str = Field(pattern=DNS_LABEL)
    image: str
    command: list[str] = Field(min_length=1, description="Before any flag.")
    device: Device
    dtype: DType = Field(default=DType.AUTO, description="What dtype auto means on this build.")
    enforce_eager: bool = Field(default=False, description="No compilation, no graphs.")
    env: dict[str, str] = Field(default_factory=dict)
    run_as_user: int = Field(
        default=65532, ge=1, description="Any non-root user that the image allows."
    )
    version: str | None = Field(
        default=None,
        pattern=ENGINE_VERSION,
        description="Of vLLM in this image; None: its tag says it, or nobody knows.",
    )
    allow_unsupported: bool = Field(
        default=False, description="Run vLLM versions with known weaknesses too."
    )

    @property
    def known_version(self) -> engine_versions.Version | None:
        said = self.version
        return engine_versions.parse(said) if said else engine_versions.of_image(self.image)


class AcceleratorProfile(SettingsModel):
    """One kind of card (or the CPU) and where it is found."""

    name: str = Field(pattern=DNS_LABEL)
    engine_profile: str
    resource: str | None = Field(default=None, description="Extended resource; None is the CPU.")
    memory: str | None = Field(
        default=None,
        description="Of a card by its name, or of a pod on CPU; None: read node labels.",
    )
    memory_label: str | None = Field(
        default=None,
        description="Node label with a card's memory in MiB, or with a unit; None: the one that "
        "NVIDIA's GPU feature discovery or AMD's node labeller writes for the resource.",
    )
    gpus_per_node: int | None = Field(default=None, ge=1, description="None: read from nodes.")
    compute: str | None = Field(
        default=None,
        pattern=COMPUTE,
        description="NVIDIA's compute capability of a declared card; None: not known.",
    )
    cpu: str = Field(default="4", description="CPUs that a pod requests per card (or in all).")
    node_selector: dict[str, str] = Field(default_factory=dict)
    tolerations: list[Toleration] = Field(default_factory=list)
    runtime_class_name: str | None = None

    @property
    def memory_bytes(self) -> int | None:
        return None if self.memory is None else parse_bytes(self.memory)

    @property
    def undeclared(self) -> list[str]:
        """The fields without which it cannot be planned for unless nodes are read."""
        needed: dict[str, str | int | None] = {"memory": self.memory}
        if self.resource is not None:
            needed["gpusPerNode"] = self.gpus_per_node
        return [name for name, value in needed.items() if value is None]

    @property
    def capability(self) -> tuple[int, int] | None:
        if self.compute is None:
            return None
        major, minor = self.compute.split(".")
        return int(major), int(minor)

    @property
    def millicpu(self) -> int:
        return parse_millicpu(self.cpu)


class ImageVolumes(str, Enum):
    """Whether the cluster mounts OCI images as volumes (Kubernetes 1.35, containerd 2.1)."""

    AUTO = "Auto"
    ALWAYS = "Always"
    NEVER = "Never"


class PodAccess(str, Enum):
    """How the operator reaches a pod's status port."""

    DIRECT = "Direct"  # by pod IP: inside the cluster
    PROXY = "Proxy"  # through the API server: outside the cluster, with a kubeconfig


class Settings(SettingsModel):
    namespace: str = Field(description="The release's namespace: Lease and Secrets live there.")
    watch_namespaces: list[str] = Field(default_factory=list, description="Empty: all.")
    control_image: str
    image_pull_policy: str = "IfNotPresent"
    image_pull_secrets: list[str] = Field(default_factory=list)
    hub_endpoint: str | None = Field(default=None, description="HF_ENDPOINT of a mirror.")
    url: str = Field(description="Where clients reach the gateway, for status.url.")
    image_volumes: ImageVolumes = ImageVolumes.AUTO
    pod_access: PodAccess = PodAccess.DIRECT
    leader_election: bool = True
    gateway_selector: str = Field(
        default=f"{names.LABEL_COMPONENT}={names.COMPONENT_GATEWAY},{names.LABEL_NAME}={names.PART_OF}",
        description="Label selector of the gateways' pods, in the release's namespace.",
    )
    engine_profiles: list[EngineProfile] = Field(min_length=1)
    accelerator_profiles: list[AcceleratorProfile] = Field(
        min_length=1, description="In order of preference for models that name none."
    )
    accelerator_fallback_seconds: int = Field(
        default=300,
        ge=1,
        description="A model that no node has room for this long goes to its next accelerator; "
        "long enough for a cluster autoscaler to bring a node.",
    )
    model_shapes: dict[str, ShapeReport] = Field(
        default_factory=dict,
        description="By spec.model.source: what no Job needs to read, as `berth plan` takes it.",
    )
    read_nodes: bool = Field(
        default=True, description="False: no cluster role is needed, and every card is declared."
    )
    management_port: int = names.PORT_OPERATOR_MANAGEMENT
    models_namespace: str | None = Field(
        default=None,
        description="Where the models of Ollama's clients are made; none: the models API is off.",
    )
    models_port: int = names.PORT_OPERATOR_MODELS

    @model_validator(mode="after")
    def _models_are_made_where_they_are_watched(self) -> "Settings":
        watched, chosen = self.watch_namespaces, self.models_namespace
        if chosen is not None and watched and chosen not in watched:
            raise ValueError(
                f"modelsNamespace is {chosen}, and only models in {', '.join(watched)} are served; "
                "name one of watchNamespaces"
            )
        return self

    @model_validator(mode="after")
    def _cards_are_declared_where_nodes_are_not_read(self) -> "Settings":
        missing = [
            f"{profile.name} needs {' and '.join(fields)}"
            for profile in self.accelerator_profiles
            if not self.read_nodes and (fields := profile.undeclared)
        ]
        if missing:
            raise ValueError(
                f"readNodes is false, so acceleratorProfiles must declare what nodes would say: "
                f"{'; '.join(missing)}"
            )
        return self

    def engine_profile(self, name: str) -> EngineProfile | None:
        return next((p for p in self.engine_profiles if p.name == name), None)


def load(environ: Mapping[str, str]) -> Settings:
    """Settings from the file that BERTH_CONFIG names, with BERTH_* overrides of single values."""
    path = Path(environ.get("BERTH_CONFIG", DEFAULT_CONFIG_PATH))
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise ConfigurationError(f"cannot read the configuration {path}: {error}") from error
    if not isinstance(document, dict):  # an empty file is None
        raise ConfigurationError(f"the configuration {path} is no mapping")
    return parse(document | _overrides(environ))


def parse(document: Mapping[str, Any]) -> Settings:
    try:
        return Settings.model_validate(document)
    except ValidationError as error:
        found = "; ".join(map(_in_words, error.errors()))
        raise ConfigurationError(f"configuration: {found}") from error


def _in_words(error: ErrorDetails) -> str:
    path = ".".join(str(part) for part in error["loc"])
    return f"{path}: {error['msg']}" if path else error["msg"].removeprefix("Value error, ")


def _overrides(environ: Mapping[str, str]) -> dict[str, str]:
    known = {
        "BERTH_NAMESPACE": "namespace",
        "BERTH_POD_ACCESS": "podAccess",
        "BERTH_URL": "url",
        "BERTH_GATEWAY_SELECTOR": "gatewaySelector",
    }
    return {field: environ[name] for name, field in known.items() if environ.get(name)}
