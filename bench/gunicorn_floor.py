"""The settings of gunicorn.conf.py for the floors, without what it does for the app itself."""

import ast
from pathlib import Path

for statement in ast.parse(Path("gunicorn.conf.py").read_text(encoding="utf-8")).body:
    if isinstance(statement, ast.Assign) and isinstance(statement.value, ast.Constant):
        for target in statement.targets:
            if isinstance(target, ast.Name):
                globals()[target.id] = statement.value.value
