"""Both images, built once."""

import os
from collections.abc import Iterator

import pytest

from .images import Image, Store, missing


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """Where images are built and kept."""
    if reason := missing():
        assert not os.environ.get("CI"), reason
        pytest.skip(reason)
    store = Store(tmp_path_factory.mktemp("store"))
    yield store
    store.close()


@pytest.fixture(scope="session")
def images(store: Store) -> dict[str, Image]:
    """The images by the name of their deployable."""
    return {name: store.build(name) for name in ("worker", "functions")}


@pytest.fixture(params=["worker", "functions"])
def image(request: pytest.FixtureRequest, images: dict[str, Image]) -> Image:
    """Each of the images."""
    return images[request.param]
