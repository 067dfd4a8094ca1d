"""Validates the lines of an NDJSON file against a JSON Schema; prints how many there are.

usage: python validate_json.py SCHEMA FILE
"""

import json
import sys

import jsonschema


def main():
    schema_path, file_path = sys.argv[1:]
    with open(schema_path) as f:
        schema = json.load(f)
    validator_class = jsonschema.validators.validator_for(schema)
    validator_class.check_schema(schema)
    validator = validator_class(schema, format_checker=validator_class.FORMAT_CHECKER)
    count = 0
    with open(file_path) as f:
        for line in f:
            validator.validate(json.loads(line))
            count += 1
    print(count)


main()
