"""The ModelDeployment as a whole: what the custom resource's schema is made from."""

from pydantic import ConfigDict

from berth_api import rules
from berth_api.spec import ApiModel, Spec
from berth_api.status import Status


class ModelDeployment(ApiModel):
    """A model, served by vLLM at Berth's OpenAI-compatible address."""

    model_config = ConfigDict(json_schema_extra=rules.validations(*rules.NAME))

    spec: Spec
    status: Status | None = None
