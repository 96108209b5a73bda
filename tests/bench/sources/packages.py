"""The packages whose files the benchmarks take places from, pinned. Chosen before anything was measured on them, by their language, size and age.

`first` is the month of a package's first release. Qwen2.5-Coder was published in September 2024: it cannot have read what came later.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Package:
    """A file of the index: a source distribution, or a wheel of pure Python. languages: LSP ids of what is taken from it; first: YYYY-MM."""

    name: str
    file: str
    sha256: str
    languages: tuple[str, ...]
    first: str

    @property
    def folder(self) -> str:
        """Where it is unpacked."""
        return self.file.removesuffix(".tar.gz").removesuffix("-py3-none-any.whl")


LANGUAGES = (
    Package(
        "pydantic-core",
        "pydantic_core-2.50.5.tar.gz",
        "1e740886083ff95530d694e6a3f09ed914bcf92a496d16acd307c6c3484fc36d",
        ("rust",),
        "2022-04",
    ),
    Package("psutil", "psutil-7.2.2.tar.gz", "0746f5f8d406af344fd547f1c8daa5f5c33dbc293bb8d6a16d80b4bb88f59372", ("c",), "2013-09"),
    Package("pybind11", "pybind11-3.1.0.tar.gz", "a1cc06b524ab3edca51f8ad3895f9c4fa20b8b19283173dff4ae781449dc9639", ("cpp",), "2015-10"),
    Package("nanobind", "nanobind-3.1.0.tar.gz", "6661e3dc1434d78781ccf7913442d90361dab395c3424efadb63bbb6ddea7ea3", ("cpp",), "2022-02"),
    Package("jpype1", "jpype1-1.7.1.tar.gz", "3cd88838dc3d2d546f7eaeadaaff864e590010c15f2b6a44b6f37e60796a14b2", ("java",), "2013-07"),
    Package(
        "ipydatagrid",
        "ipydatagrid-1.4.0.tar.gz",
        "210fc57e595a618d76c0cb28d34b1ef9716e10c64c9c5955e07e6d10aaaa12ee",
        ("typescript", "javascript"),
        "2021-02",
    ),
    Package(
        "jupyterlab-widgets",
        "jupyterlab_widgets-3.0.17.tar.gz",
        "6e61fe21ca8a66039180a5cc52a433e07279d2fee79c8be963e00d55193f17a8",
        ("typescript", "javascript"),
        "2016-10",
    ),
    Package(
        "pythonmonkey", "pythonmonkey-1.4.1.tar.gz", "fea88fa5fe4885073b597c51699eaba310edb5f3bba55d28d883d0e3c5a45a92", ("javascript",), "2023-07"
    ),
    Package("enry-python", "enry_python-0.3.0.tar.gz", "9708db7c83460cab0b89d0cfceab082ccde097b93d9c26c623d801505064b82a", ("go",), "2026-03"),
    Package(
        "opa-golib-python-bindings",
        "opa_golib_python_bindings-0.4.4.tar.gz",
        "2db467cf920fb1408d4bbf8b4cbcd069e73d70d91f6a03049434f1aced6e9a95",
        ("go",),
        "2026-08",
    ),
)
"""For `quiet`; Python comes from the running interpreter's standard library."""

PYTHON = (
    Package(
        "requests", "requests-2.34.2-py3-none-any.whl", "2a0d60c172f83ac6ab31e4554906c0f3b3588d37b5cb939b1c061f4907e278e0", ("python",), "2011-02"
    ),
    Package("rich", "rich-15.0.0-py3-none-any.whl", "33bd4ef74232fb73fe9279a257718407f169c09b78a87ad3d296f548e27de0bb", ("python",), "2019-11"),
    Package(
        "werkzeug", "werkzeug-3.1.9-py3-none-any.whl", "6392e50c78460ba618e5b21f08a71f59c99ce99cdc6cf6e3dd7e6ccca8754fab", ("python",), "2007-12"
    ),
    Package(
        "starlette", "starlette-1.10.0-py3-none-any.whl", "478c0ab3b4ced6e82719849c118fa406f0278a3499c1a898cd15cd31bdc38ce4", ("python",), "2018-06"
    ),
    Package("textual", "textual-8.2.8-py3-none-any.whl", "267375fd402dc8d981457212efa71f0e3365fd17bba144ba9bb3ed7563cb374a", ("python",), "2021-06"),
    Package(
        "smolagents", "smolagents-1.26.0-py3-none-any.whl", "70e1cfb1576f782da93190ee31d9bb2659e5ca4bd84fda0c412e1f20498f28b6", ("python",), "2024-12"
    ),
    Package(
        "markitdown", "markitdown-0.1.9-py3-none-any.whl", "52f59c48bea9cf887224c56247f648d68beb7aa7af5a12d414748210c83c20ea", ("python",), "2024-11"
    ),
    Package("mcp", "mcp-2.3.0-py3-none-any.whl", "dd0c44c089d16453e8ae31a3877a0054d7a2314caaa81f5e0541b9b1734b2377", ("python",), "2024-11"),
    Package(
        "openai-agents",
        "openai_agents-0.24.0-py3-none-any.whl",
        "18d4ac34e84ed937333ec8ce46395ed3521ffcbb0a521780a4c2eaa451467f49",
        ("python",),
        "2025-03",
    ),
    Package(
        "inspect-swe",
        "inspect_swe-0.2.72-py3-none-any.whl",
        "f72354c71a1cb5ab611284dc973be2a75d0657020d6c56abe4a3450fed322ed4",
        ("python",),
        "2025-08",
    ),
)
"""For `cursor`: five that the model may have read, and five that it cannot have read."""
