"""How far a model is, from its status, in Ollama's words."""

from berth_operator.core.managed.following import Done, Failed, UnderWay, progress

COMMIT = "b" * 40


def model(planned=None, generation=2, **status):
    conditions = []
    if planned is not None:
        truth, message = planned
        conditions = [
            {"type": "Ready", "status": "False", "observedGeneration": 2, "message": "no"},
            {
                "type": "Planned",
                "status": truth,
                "observedGeneration": generation,
                "message": message,
            },
        ]
    return {"metadata": {"generation": 2}, "status": {"conditions": conditions, **status}}


def test_until_its_files_are_read_it_is_under_way():
    reading = UnderWay({"status": "pulling manifest"})
    assert progress({"metadata": {"generation": 1}}) == reading
    assert progress(model()) == reading
    assert progress(model(("Unknown", "reading"))) == reading


def test_a_plan_of_the_spec_before_says_nothing():
    assert isinstance(progress(model(("True", "fits"), generation=1)), UnderWay)
    assert isinstance(progress(model(("False", "no"), generation=1)), UnderWay)


def test_a_model_whose_plan_stands_can_be_asked():
    assert progress(model(("True", "fits"), phase="Idle")) == Done()
    assert progress(model(("True", "fits"), phase="Serving")) == Done()


def test_one_that_cannot_be_had_says_why():
    assert progress(model(("False", "there is no a/b"))) == Failed("there is no a/b")


def test_a_pod_that_fetches_is_followed():
    status = {"model": {"commit": COMMIT, "fileBytes": 1000}, "load": {"percent": 43}}
    found = progress(model(("True", "fits"), phase="Fetching", **status))
    assert found == UnderWay(
        {"status": f"pulling {'b' * 12}", "digest": COMMIT, "total": 1000, "completed": 430}
    )


def test_there_is_no_bar_for_an_unknown_size():
    found = progress(model(("True", "fits"), phase="Fetching"))
    assert found == UnderWay({"status": "pulling weights"})
