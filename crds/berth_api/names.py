"""Every name that two parts of Berth must spell alike: kinds, labels, ports, paths, reasons.

A string that only one part uses does not belong here.
"""

from typing import Final

GROUP: Final = "berth.dev"
VERSION: Final = "v1alpha1"
API_VERSION: Final = f"{GROUP}/{VERSION}"
KIND: Final = "ModelDeployment"
PLURAL: Final = "modeldeployments"
SINGULAR: Final = "modeldeployment"
SHORT_NAME: Final = "mdep"
KIND_POOL: Final = "ModelPool"
PLURAL_POOL: Final = "modelpools"
SINGULAR_POOL: Final = "modelpool"
SHORT_NAME_POOL: Final = "mpool"

# Child names add at most 22 characters ("-1234567890-shape-12345"); a label value holds 63.
MAX_NAME_LENGTH: Final = 40
# A Service is named after a model.
NAME_PATTERN: Final = r"[a-z]([-a-z0-9]*[a-z0-9])?"

# Labels on every child; the gateway and the Services select by them.
LABEL_MODEL: Final = f"{GROUP}/model"
LABEL_REVISION: Final = f"{GROUP}/revision"
# On what belongs to a ModelPool: its pods, and the EndpointSlices of its models.
LABEL_POOL: Final = f"{GROUP}/pool"
LABEL_ROLE: Final = f"{GROUP}/role"
# Present on a pod that may take traffic; the operator takes it off to drain a chosen pod.
LABEL_ROUTE: Final = f"{GROUP}/route"
ROUTE_OPEN: Final = "open"
# On a pod without that label: since when it has been draining, RFC 3339.
ANNOTATION_DRAINING: Final = f"{GROUP}/draining-since"
# On a ModelDeployment of a pool, written by `berth load` and `berth unload`: when, RFC 3339. The
# later of the two counts.
ANNOTATION_LOAD: Final = f"{GROUP}/load-asked"
ANNOTATION_UNLOAD: Final = f"{GROUP}/unload-asked"
# On the EndpointSlice of a pool's model: what the engine calls it, for models may share one; and
# the engine's identity, from which its key is derived with the pool's uid.
ANNOTATION_SERVED_MODEL: Final = f"{GROUP}/served-model"
ANNOTATION_ENGINE_IDENTITY: Final = f"{GROUP}/engine-identity"
LABEL_NAME: Final = "app.kubernetes.io/name"
LABEL_INSTANCE: Final = "app.kubernetes.io/instance"
LABEL_COMPONENT: Final = "app.kubernetes.io/component"
LABEL_PART_OF: Final = "app.kubernetes.io/part-of"
LABEL_MANAGED_BY: Final = "app.kubernetes.io/managed-by"
PART_OF: Final = "berth"
MANAGED_BY: Final = "berth-operator"

ROLE_ENGINE: Final = "engine"
ROLE_SHAPE: Final = "shape"
ROLE_FETCH: Final = "fetch"
ROLE_POOL: Final = "pool"
# Component label of the gateway's own pods: the operator asks each of them for its demand.
COMPONENT_GATEWAY: Final = "gateway"

# Field managers of server-side apply: objects and status have one writer each.
FIELD_MANAGER: Final = "berth-operator"
STATUS_FIELD_MANAGER: Final = "berth-status"
# Of ModelDeployments that Ollama's clients make; also the value of their LABEL_MANAGED_BY.
MODELS_FIELD_MANAGER: Final = "berth-models"

# Ports. The engine's and the wrapper's are in runtime pods, the others in Berth's own.
PORT_ENGINE: Final = 8000
PORT_SERVER_STATUS: Final = 8090
PORTS_POOL: Final = (8100, 8199)  # first and last of the engines' in a pool's pod
PORT_GATEWAY: Final = 8080
PORT_GATEWAY_MANAGEMENT: Final = 8081
PORT_OPERATOR_MANAGEMENT: Final = 8082
PORT_OPERATOR_MODELS: Final = 8083
PORT_NAME_ENGINE: Final = "engine"
PORT_NAME_STATUS: Final = "status"

# Paths that the wrapper (and, while it runs, the fetcher) serves on PORT_SERVER_STATUS.
PATH_STATUS: Final = "/status"
PATH_READY: Final = "/readyz"
PATH_LIVE: Final = "/livez"
# And in a pool's pod: PUT what engines it is to hold (berth_api.pool_server.EngineOrders).
PATH_ENGINES: Final = "/engines"
# With the pool's key. No Authorization: an API server that forwards orders keeps that to itself.
HEADER_POOL_KEY: Final = "x-berth-pool-key"
# Path on PORT_GATEWAY_MANAGEMENT; its content is berth_api.demand.
PATH_DEMAND: Final = "/demand"

# Places inside a runtime pod.
DIR_SERVER: Final = "/berth/server"  # berth_server, berth_api and their dist-info, copied in
DIR_MODEL: Final = "/berth/model"  # the model's files, or a folder above them
DIR_COMPILED: Final = "/berth/compiled"  # what engines have compiled, a folder of a claim
DIR_RUN: Final = "/berth/run"  # the pod's writable home: caches, sockets, logs
DIR_ENGINE_KEY: Final = "/berth/engine-key"  # the engine key's Secret, mounted as a folder
DIR_POOL_KEY: Final = "/berth/pool-key"  # a pool's key, mounted as a folder
DIR_ADAPTERS: Final = "/berth/adapters"  # LoRA adapters from a hub, a folder for each
DIR_CLAIMS: Final = "/berth/claims"  # LoRA adapters on claims, a folder for each
DIR_SHAPE: Final = "/berth/shape"  # heads of a model's files, for the shape Job
ENGINE_KEY_FIELD: Final = "engineKey"
POOL_KEY_FIELD: Final = "poolKey"
# Where the control image keeps what an init container copies into DIR_SERVER.
DIR_SERVER_IN_IMAGE: Final = "/opt/berth/server"
BUSYBOX_IN_IMAGE: Final = "/bin/busybox"  # Debian's busybox-static

# The server's whole configuration, as JSON (berth_api.server.ServerConfig).
ENV_SERVER_CONFIG: Final = "BERTH_SERVER_CONFIG"
# The same for a pool's pod (berth_api.pool_server.PoolConfig), which then has no ENV_SERVER_CONFIG.
ENV_POOL_CONFIG: Final = "BERTH_POOL_CONFIG"
# What the fetcher and the shape Job fetch, as JSON (berth_api.server.FetchConfig).
ENV_FETCH_CONFIG: Final = "BERTH_FETCH_CONFIG"
# Which adapters the fetcher and the shape Job fetch, as JSON (berth_api.server.AdaptersConfig).
ENV_ADAPTERS_CONFIG: Final = "BERTH_ADAPTERS_CONFIG"
ENV_HF_TOKEN: Final = "HF_TOKEN"  # noqa: S105 -- the name of a variable, not a token

# Secrets of the release, in its namespace; the operator creates them if absent.
SECRET_ENGINE_MASTER: Final = "berth-engine-master"  # noqa: S105 -- {masterKey}: seeds engine keys
SECRET_API_KEYS: Final = "berth-api-keys"  # noqa: S105 -- {<key id>: sha256 hex, or JSON}
SECRET_FIRST_API_KEY: Final = "berth-first-api-key"  # noqa: S105 -- {apiKey}: for the administrator
MASTER_KEY_FIELD: Final = "masterKey"
FIRST_API_KEY_FIELD: Final = "apiKey"
API_KEY_PREFIX: Final = "sk-berth-"

LEASE_NAME: Final = "berth-operator"


def engine_service(model: str) -> str:
    """The headless Service over a model's runtime pods."""
    return f"{model}-engine"


def engine_key_secret(model: str) -> str:
    """The Secret with a model's engine key."""
    return f"{model}-engine-key"


def disruption_budget(model: str) -> str:
    return f"{model}-engine"


def revision_name(model: str, revision: str) -> str:
    """The Deployment and the ControllerRevision of one revision; `revision` is its hash."""
    return f"{model}-{revision}"


def shape_job(model: str, source_hash: str) -> str:
    return f"{model}-shape-{source_hash}"


def fetch_job(model: str, files_hash: str) -> str:
    return f"{model}-fetch-{files_hash}"


def model_slice(model: str) -> str:
    """The EndpointSlice of a pool's model; a Service's are named by Kubernetes."""
    return f"{model}-pooled"


def pool_name(pool: str) -> str:
    """The PodDisruptionBudget and the prefix of all that a pool owns: a model may have its name."""
    return f"{pool}-pool"


def pool_key_secret(pool: str) -> str:
    return f"{pool}-pool-key"


def pool_revision(pool: str, revision: str) -> str:
    """The Deployment and the ControllerRevision of one pod template of a pool."""
    return f"{pool}-pool-{revision}"


def pool_engine(pool_uid: str, identity: str) -> str:
    """What the engine key of a shared engine is derived from, in place of a model's uid."""
    return f"{pool_uid}/{identity}"


def engine_line(engine: str) -> str:
    """How each line of one engine begins in the log of a pool's pod, where several speak."""
    return f"[{engine}] "


def pool_endpoint(pod_uid: str, engine: str) -> str:
    """How the requests at one of a pod's engines are counted, in place of the pod's uid alone."""
    return f"{pod_uid}/{engine}"
