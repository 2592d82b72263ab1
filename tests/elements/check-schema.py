#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""check-schema.py SCHEMA FILE…: whether each line of each file is a JSON object as the schema has it."""
import json
import sys

import jsonschema

with open(sys.argv[1]) as f:
    schema = json.load(f)
jsonschema.Draft202012Validator.check_schema(schema)
validator = jsonschema.Draft202012Validator(schema, format_checker=jsonschema.Draft202012Validator.FORMAT_CHECKER)
n = 0
for path in sys.argv[2:]:
    with open(path, "rb") as f:
        text = f.read()
    assert not text or text.endswith(b"\n"), "%s ends within a line" % path
    for line in text.decode().splitlines():
        event = json.loads(line)
        errors = [error.message for error in validator.iter_errors(event)]
        for error in jsonschema.exceptions.best_match(validator.iter_errors(event)).context if errors else ():
            errors.append(error.message)
        if errors:
            sys.exit("%s: %s\n%s" % (path, line, "\n".join(errors)))
        n += 1
print(n, "events")
