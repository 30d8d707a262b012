"""Objects by their names."""

from __future__ import annotations

from umbel.contrib.celery.utils.imports import (
    NotAPackage,
    cwd_in_path,
    find_module,
    gen_task_name,
    import_from_cwd,
    instantiate,
    load_extension_class_names,
    load_extension_classes,
    module_file,
    qualname,
    reload_from_cwd,
    symbol_by_name,
)

__all__ = [
    "NotAPackage",
    "cwd_in_path",
    "find_module",
    "gen_task_name",
    "import_from_cwd",
    "instantiate",
    "load_extension_class_names",
    "load_extension_classes",
    "module_file",
    "qualname",
    "reload_from_cwd",
    "symbol_by_name",
]
