import builders
from fakes.cluster_of_one import ClusterOfOne

REPORT = {
    "commit": "c0ffee",
    "config": {**builders.LLAMA_8B_CONFIG, "model_type": "llama"},
    "tensorBytes": {"F32": 1_000, "BF16": 16_060_522_496},
    "tensorCount": 291,
    "fileBytes": 16_060_556_376,
}


def test_a_model_is_told_as_its_files_are() -> None:
    cr = builders.model_deployment(source="hf://meta-llama/Llama-3.1-8B-Instruct")
    cluster = ClusterOfOne(cr=cr, context=builders.context())
    cluster.step()
    cluster.read_shape(REPORT)
    cluster.settle()

    assert cluster.cr["status"]["model"] == {
        "commit": "c0ffee",
        "fileBytes": 16_060_556_376,
        "parametersDtype": "BF16",
        "architecture": "llama",
    }
