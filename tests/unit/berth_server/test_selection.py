from berth_server.selection import RemoteFile, has_pickles, needed, weight_files


def names(*paths, indexed=None):
    return [file.path for file in needed([RemoteFile(path, 1) for path in paths], indexed)]


def test_weights_configurations_and_tokenizers_are_needed():
    kept = ["config.json", "model.safetensors", "tokenizer.model", "merges.txt", "c.jinja"]
    assert names(*kept, "README.md", ".gitattributes", "modeling_x.py", "a.png") == kept


def test_pickles_and_other_runtimes_forms_are_never_needed():
    assert names("pytorch_model.bin", "model.pt", "model.gguf", "onnx/model.onnx") == []


def test_folders_are_left_out_but_for_the_modules_of_an_embedding_model():
    paths = ["1_Pooling/config.json", "2_Dense/model.safetensors", "original/params.json"]
    assert names(*paths) == paths[:2]


def test_the_same_weights_in_mistrals_layout_are_not_fetched_twice():
    assert names("consolidated.safetensors", "model.safetensors") == ["model.safetensors"]
    assert names("consolidated.safetensors", "params.json") == [
        "consolidated.safetensors",
        "params.json",
    ]


def test_the_index_decides_which_weights_belong_to_the_model():
    paths = ["model-1.safetensors", "model.fp16.safetensors", "config.json"]
    assert names(*paths, indexed=frozenset({"model-1.safetensors"})) == [paths[0], paths[2]]


def test_weights_are_told_from_the_rest():
    files = needed([RemoteFile("config.json", 1), RemoteFile("model.safetensors", 9)])
    assert [file.size_bytes for file in weight_files(files)] == [9]


def test_pickles_are_recognised_for_the_message():
    assert has_pickles(["pytorch_model.bin"])
    assert not has_pickles(["config.json"])
