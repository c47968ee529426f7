from dataclasses import replace
from pathlib import Path

import pytest

from dev import images, places
from dev.images import Image


@pytest.fixture
def image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Image:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "Dockerfile").write_text("FROM scratch")
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "module.py").write_text("x = 1")
    (tmp_path / "notes.txt").write_text("no input")
    return Image("localhost/a:dev", tmp_path / "Dockerfile", tmp_path, ("package",), "stage")


class Recorder:
    """A builder that remembers what it was asked for."""

    def __init__(self) -> None:
        self.tags: set[str] = set()
        self.builds = 0

    def build(self, image: Image) -> None:
        self.builds += 1
        self.tags.add(images.unique_reference(image))

    def references(self) -> set[str]:
        return set(self.tags)

    def remove(self, reference: str) -> None:
        self.tags.remove(reference)


def test_an_image_is_built_once_until_an_input_changes(image: Image) -> None:
    builder = Recorder()
    assert images.build(builder, image)
    assert not images.build(builder, image)
    (image.context / "package" / "module.py").write_text("x = 2")
    assert images.build(builder, image)
    assert builder.builds == 2
    assert builder.tags == {images.unique_reference(image)}, "the first build is outdated"


def test_what_is_no_input_does_not_count(image: Image) -> None:
    before = images.fingerprint(image)
    (image.context / "notes.txt").write_text("changed")
    (image.context / "package" / "__pycache__").mkdir()
    (image.context / "package" / "__pycache__" / "module.pyc").write_text("bytecode")
    assert images.fingerprint(image) == before


def test_target_arguments_and_recipe_count(image: Image) -> None:
    names = {
        images.fingerprint(image),
        images.fingerprint(replace(image, target="other")),
        images.fingerprint(replace(image, arguments={"BASE": "x"})),
    }
    image.dockerfile.write_text("FROM other")
    names.add(images.fingerprint(image))
    assert len(names) == 4


@pytest.mark.parametrize("folder", ["uv", "runtime-cpu"])
def test_every_wheel_of_a_lock_has_a_hash(folder: str) -> None:
    lock = places.REPOSITORY / "dev" / "images" / folder / "requirements.txt"
    entries = lock.read_text().replace("\\\n", " ").splitlines()
    assert entries
    assert [one for one in entries if "--hash=sha256:" not in one] == []


def test_a_build_installs_from_locks_only_and_checks_the_hashes() -> None:
    recipe = (places.REPOSITORY / "Dockerfile").read_text().replace("\\\n", " ")
    installs = [line for line in recipe.splitlines() if "pip install" in line]
    assert installs
    own = "--quiet --no-deps --python /opt/venv/bin/python"  # Berth's wheel, which the build makes
    assert [one for one in installs if "--require-hashes" not in one and own not in one] == []


def test_images_are_built_by_the_same_uv_as_everything_else() -> None:
    wanted = (places.REPOSITORY / "dev" / "images" / "uv" / "requirements.in").read_text()
    makefile = (places.REPOSITORY / "Makefile").read_text()
    version = wanted.strip().rpartition("==")[2]
    assert f"UV_VERSION := {version}\n" in makefile


def test_the_control_images_wheels_are_those_whose_hashes_are_locked() -> None:
    recipe = (places.REPOSITORY / "Dockerfile").read_text()
    assert "uv sync --quiet --frozen" in recipe
    packages = (places.REPOSITORY / "uv.lock").read_text().split("[[package]]")[1:]
    wheels = [line for one in packages for line in one.splitlines() if ".whl" in line]
    assert wheels
    assert [line for line in wheels if 'hash = "sha256:' not in line] == []
