"""The gunicorn configuration of the floors: the plain settings of gunicorn.conf.py, without its functions.

The functions do work for the app itself, so they must not run for a floor.
"""

import ast
from pathlib import Path

for statement in ast.parse(Path("gunicorn.conf.py").read_text(encoding="utf-8")).body:
    if isinstance(statement, ast.Assign) and isinstance(statement.value, ast.Constant):
        for target in statement.targets:
            if isinstance(target, ast.Name):
                globals()[target.id] = statement.value.value
