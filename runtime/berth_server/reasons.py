"""Why a runtime pod ends: the reasons of the API's conditions that the server gives."""

from typing import Final

OUT_OF_MEMORY: Final = "OutOfMemory"
KV_TOO_SMALL: Final = "KVCacheTooSmall"
TENSOR_PARALLEL: Final = "TensorParallelInvalid"
UNSUPPORTED: Final = "UnsupportedArchitecture"
CONFIG_UNREADABLE: Final = "ConfigUnreadable"
NOT_FOUND: Final = "NotFound"
NO_SPACE: Final = "NoSpace"
CRASH_LOOP: Final = "CrashLoop"
LOAD_TIMEOUT: Final = "LoadTimeout"
MEMORY_NOT_FREED: Final = "MemoryNotFreed"
STALLED: Final = "EngineStalled"
ENGINE_VULNERABLE: Final = "EngineVulnerable"
CHECKSUM_MISMATCH: Final = "ChecksumMismatch"
