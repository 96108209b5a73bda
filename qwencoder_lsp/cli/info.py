"""info: what an orchestrator needs to know to run the service beside others."""

from __future__ import annotations

import json
from typing import Any

from qwencoder_lsp import __version__, paths
from qwencoder_lsp.cli.options import Json, settings
from qwencoder_lsp.operate import checks, units
from qwencoder_lsp.settings import Settings


def info(as_json: Json = False) -> None:
    """Show start order, dependencies, times, priority and ports of the service."""
    facts = describe(settings())
    print(json.dumps(facts) if as_json else "\n".join(_lines(facts)))


def describe(chosen: Settings) -> dict[str, Any]:
    """The facts as JSON-ready values. Times in seconds; order: lower starts earlier; priority as of nice(1)."""
    own = chosen.gateway
    command = "qwencoder-lsp"
    return {
        "name": "qwencoder-lsp",
        "version": __version__,
        "kind": "model server",
        "order": 50,
        "priority": {"nice": 0, "restart": "on-failure", "essential": False},
        "dependencies": {"services": [], "network": False, "model": chosen.model.chat, "gpu": "optional"},
        "processes": ["service", "gateway (one per user)", "engine (one per loaded model)"],
        "ports": [{"port": own.port, "host": own.host, "protocol": "http", "health": "/health", "metrics": "/metrics"}],
        "commands": {
            "install": f"{command} manage install",
            "start": f"{command} manage start --wait",
            "stop": f"{command} manage stop",
            "restart": f"{command} manage restart",
            "status": f"{command} status --format json",
            "logs": f"{command} logs --json",
            "test": f"{command} test smoke --json",
            "uninstall": f"{command} manage uninstall",
        },
        "estimates_s": {"start": 3, "start_with_model": 20, "stop": 2, "install_without_download": 2},
        "timeouts_s": {"start": 60, "stop": 20, "health": 5, **{f"test_{name}": limit for name, limit in checks.LIMITS_S.items()}},
        "exit_codes": {"0": "done", "1": "failed", "2": "not applicable or already so"},
        "directories": {
            "models": str(paths.models_dir()),
            "settings": str(paths.config_file().parent),
            "logs": str(paths.log_dir()),
            "cache": str(paths.cache_dir()),
        },
        "supervisor": units.kind() or "none",
    }


def _lines(facts: dict[str, Any], indent: str = "") -> list[str]:
    lines = []
    for name, value in facts.items():
        if isinstance(value, dict):
            lines += [f"{indent}{name}", *_lines(value, indent + "  ")]
        elif isinstance(value, list):
            shown = [" ".join(f"{k} {v}" for k, v in item.items()) if isinstance(item, dict) else str(item) for item in value]
            lines.append(f"{indent}{name:26}{', '.join(shown) or 'none'}")
        else:
            lines.append(f"{indent}{name:26}{str(value).lower() if isinstance(value, bool) else value}")
    return lines
