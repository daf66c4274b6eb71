"""Whether a value has the shape that the service's API model says.

Input: a shape of botocore and a value. Output: problems in SageMaker's words. botocore's own validation looks at types, required
members and the least length; the service also looks at the greatest length, at patterns and at enumerations, and so does this.
"""

import re

TYPES = {
    "string": str, "integer": int, "long": int, "float": (int, float), "double": (int, float), "boolean": bool,
    "timestamp": (int, float), "list": list, "map": dict, "structure": dict,
}


def problems(shape, value, place=""):
    """What is wrong with `value`, a line each."""
    kind = shape.type_name
    expected = TYPES.get(kind)
    if expected and (not isinstance(value, expected) or (kind != "boolean" and isinstance(value, bool))):
        return [f"Value '{value}' at '{place}' is no {kind}"]
    found = limits(shape, value, place)
    if kind == "structure":
        found += [f"Value null at '{place}.{name}' failed to satisfy constraint: Member must not be null"
                  for name in shape.required_members if name not in value]
        found += [f"'{place}.{name}' is unknown" for name in value if name not in shape.members]
        for name, inner in value.items():
            if name in shape.members:
                found += problems(shape.members[name], inner, f"{place}.{name}".lstrip("."))
    elif kind == "list":
        for at, inner in enumerate(value):
            found += problems(shape.member, inner, f"{place}.{at + 1}")
    elif kind == "map":
        for name, inner in value.items():
            found += problems(shape.key, name, f"{place}.key") + problems(shape.value, inner, f"{place}.{name}")
    return found


def limits(shape, value, place):
    found = []
    says = lambda what: found.append(
        f"Value '{value}' at '{place}' failed to satisfy constraint: Member must {what}")
    size = len(value) if isinstance(value, (str, list, dict)) else value
    unit = " length" if isinstance(value, (str, list, dict)) else ""
    least, most = shape.metadata.get("min"), shape.metadata.get("max")
    if isinstance(size, (int, float)) and not isinstance(size, bool):
        if least is not None and size < least:
            says(f"have{unit} greater than or equal to {least}")
        if most is not None and size > most:
            says(f"have{unit} less than or equal to {most}")
    choices = shape.metadata.get("enum")
    if choices and value not in choices:
        says(f"satisfy enum value set: {choices}")
    pattern = shape.metadata.get("pattern")
    if pattern and isinstance(value, str) and not matches(pattern, value):
        says(f"satisfy regular expression pattern: {pattern}")
    return found


def matches(pattern, text):
    # The model has Java's classes of characters.
    pattern = pattern.replace(r"\p{Alnum}", "a-zA-Z0-9").replace(r"\p{L}\p{Z}\p{N}", r"\w\s")
    # This one pattern of the model, for data capture, lacks a plus sign and would refuse every bucket.
    pattern = pattern.replace("://([^/])/?", "://([^/]+)/?")
    return re.fullmatch(pattern, text, re.DOTALL) is not None
