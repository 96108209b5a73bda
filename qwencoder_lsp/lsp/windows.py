"""Windows: whether a process lives. `os.kill(pid, 0)` would send it CTRL_C there.

https://learn.microsoft.com/windows/win32/api/synchapi/nf-synchapi-waitforsingleobject
"""

from __future__ import annotations

import ctypes
import sys

SYNCHRONIZE, WAIT_TIMEOUT, ERROR_ACCESS_DENIED = 0x00100000, 0x102, 5

if sys.platform == "win32":

    def is_alive(pid: int) -> bool:
        """Whether a process of that number exists."""
        kernel = ctypes.WinDLL("kernel32", use_last_error=True)
        handle = kernel.OpenProcess(SYNCHRONIZE, False, pid)
        if not handle:
            return ctypes.get_last_error() == ERROR_ACCESS_DENIED
        try:
            return bool(kernel.WaitForSingleObject(handle, 0) == WAIT_TIMEOUT)
        finally:
            kernel.CloseHandle(handle)
