"""Where editors keep their configuration, by operating system, and where ours is shipped."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def shipped(editor: str) -> Path:
    """The directory of our files for an editor: package data in a wheel, the top-level `editors/` in a checkout."""
    packaged = Path(__file__).parent / "files"
    # An editable install runs from the checkout, where the files lie in the top-level directory.
    return (packaged if packaged.is_dir() else Path(__file__).parents[2] / "editors") / editor


def neovim() -> Path:
    """Neovim's configuration directory, as `stdpath('config')` has it."""
    return _config(windows="LOCALAPPDATA") / os.environ.get("NVIM_APPNAME", "nvim")


def emacs() -> Path:
    """Emacs's init file: the one that it would read, else the usual one (Emacs manual, "The Emacs Initialization File")."""
    home = Path.home()
    known = [home / ".emacs.el", home / ".emacs", home / ".emacs.d/init.el", _xdg() / "emacs/init.el"]
    usual = known[3] if known[3].parent.is_dir() and not known[2].parent.is_dir() else known[2]
    return next((path for path in known if path.exists()), usual)


def helix() -> Path:
    """Helix's languages.toml."""
    return _config() / "helix/languages.toml"


def vim() -> Path:
    """Vim's plugin directory."""
    return Path.home() / ("vimfiles" if sys.platform == "win32" else ".vim") / "plugin"


def zed() -> Path:
    """Zed's settings.json."""
    return (_config() / "Zed" if sys.platform == "win32" else _xdg() / "zed") / "settings.json"


def sublime() -> Path:
    """Sublime Text's directory of the user's own files."""
    return _application("Sublime Text", linux="sublime-text") / "Packages/User"


def vscode() -> Path:
    """VS Code's settings of the user."""
    return _application("Code", linux="Code") / "User/settings.json"


def _xdg() -> Path:
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")


def _config(windows: str = "APPDATA") -> Path:
    """Where programs that follow XDG on every Unix keep their configuration."""
    return Path(os.environ.get(windows) or Path.home() / "AppData/Roaming") if sys.platform == "win32" else _xdg()


def _application(name: str, linux: str) -> Path:
    """Where programs keep it that follow each system's own custom."""
    if sys.platform == "darwin":
        return Path.home() / "Library/Application Support" / name
    return _config() / (name if sys.platform == "win32" else linux)
