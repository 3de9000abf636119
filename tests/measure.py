"""Measures the C code of the product against the limits of the house.

Prints a table (figure, now, aim, hard limit), the five longest functions and
every mutable variable of static life; exits 1 when a hard limit is passed.

Function length: the line of the name to the closing brace. Nesting: levels of
brace blocks inside the body; initialisers are not blocks. Parameters: without
the dots of a variadic function. Width: in columns, a tab reaching to the next
multiple of 8. Mutable variables: definitions at file scope whose object is
not const, and `static` ones inside functions, which are the same in disguise.
"""
import math
import pathlib
import re
import sys
from dataclasses import dataclass, field

# A comment, a string or character constant, a preprocessor directive with its
# continuation lines.
NOISE = re.compile(
    r"""//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'""", re.S)
DIRECTIVE = re.compile(r"^[ \t]*#(?:[^\n]*\\\n)*[^\n]*", re.M)
FUNCTION = re.compile(r"([A-Za-z_]\w*)\s*\((.*)\)\s*\Z", re.S)
ATTRIBUTE = re.compile(r"__attribute__\s*\(\(.*?\)\)|_Noreturn|\bnoreturn\b",
                       re.S)
CONDITION = re.compile(r"^[ \t]*#[ \t]*(?:if|ifdef|ifndef)\b", re.M)
GUARD = re.compile(r"^#ifndef (\w+)\n#define \1$", re.M)


@dataclass
class Function:
    name: str
    file: str
    line: int
    length: int
    nesting: int
    parameters: int


@dataclass
class Code:
    functions: list = field(default_factory=list)
    variables: list = field(default_factory=list)
    lines: dict = field(default_factory=dict)
    widest: tuple = (0, "")
    wide: int = 0
    conditions: int = 0


def blank(match):
    """Blanks all but the line ends and the quotes."""
    text = match.group(0)
    inside = re.sub(r"[^\n]", " ", text)
    if text[0] in "\"'":
        return text[0] + inside[1:-1] + text[0]
    return inside


def closing(text, at):
    """The position of the bracket that closes the one at `at`."""
    depth = 0
    for position in range(at, len(text)):
        depth += {"{": 1, "(": 1, "[": 1}.get(text[position], 0)
        depth -= {"}": 1, ")": 1, "]": 1}.get(text[position], 0)
        if depth == 0:
            return position
    raise ValueError(f"bracket {at} is never closed")


def declarations(text):
    """Steps through file scope: (start, head, position of a body or None)."""
    start = position = 0
    while position < len(text):
        char = text[position]
        if char in "([":
            position = closing(text, position)
        elif char == "{":
            head = ATTRIBUTE.sub("", text[start:position])
            if "=" not in head and FUNCTION.search(head.rstrip()):
                yield start, head, position
                start = closing(text, position) + 1
            position = closing(text, position)
        elif char == ";":
            yield start, text[start:position], None
            start = position + 1
        position += 1


def split(text):
    """Splits at the commas that are in no bracket."""
    parts, depth = [""], 0
    for char in text:
        depth += (char in "([{") - (char in ")]}")
        if char == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += char
    return parts


def without_brackets(text, kind):
    """Takes out every bracket of that kind with what is in it."""
    while (at := text.find(kind)) >= 0:
        text = text[:at] + " " + text[closing(text, at) + 1:]
    return text


def mutable(declaration):
    """The names that a declaration defines and that can change."""
    text = re.sub(r"\b(struct|union|enum)\b\s*\w*", "int", declaration)
    text = without_brackets(ATTRIBUTE.sub("", text), "{")
    first, *more = [without_brackets(part.split("=")[0], "[")
                    for part in split(text)]
    words = re.findall(r"\w+|\*", first)
    if len([w for w in words if w not in ("static", "const")]) < 2 or words[
            0] in ("typedef", "extern", "_Static_assert", "static_assert"):
        return []
    constant_base = "const" in first.split("*")[0].split()
    names = []
    for part in [first, *more]:
        if pointer := re.match(r"[^(]*\(\s*\*([^()]*)\)\s*\(", part):
            part = "*" + pointer.group(1)
        if "(" in part:
            continue
        star, declarator = part.rpartition("*")[1:]
        words = declarator.split()
        if words and not ("const" in words if star else constant_base):
            names.append(words[-1])
    return names


def nesting(body):
    """Levels of blocks in a body; `= {`, `){` and `{0}` open none."""
    depth = deepest = 0
    blocks = []
    for position, char in enumerate(body):
        if char == "{":
            before = body[:position].rstrip()
            block = bool(re.search(r"(\belse|\bdo|[{};:])\Z", before)) or (
                before.endswith(")") and body[position - 1] != ")")
            blocks.append(block)
            depth += block
            deepest = max(deepest, depth)
        elif char == "}" and blocks:
            depth -= blocks.pop()
    return deepest


def measure_function(code, file, text, start, head, brace):
    match = FUNCTION.search(head.rstrip())
    name_at = text.index(match.group(1), start)
    while not re.match(r"\w+\s*\(", text[name_at:]):
        name_at = text.index(match.group(1), name_at + 1)
    end = closing(text, brace)
    line = text.count("\n", 0, name_at) + 1
    inside = [p.strip() for p in split(match.group(2))]
    code.functions.append(Function(
        match.group(1), file, line, text.count("\n", name_at, end) + 1,
        nesting(text[brace + 1:end]),
        len([p for p in inside if p not in ("void", "...", "")])))
    for local in re.finditer(r"\bstatic\b", text[brace:end]):
        rest = text[brace + local.start():end]
        declaration = next(declarations(rest))[1]
        code.variables += [(n, file) for n in mutable(declaration)]


def measure_file(code, path):
    raw = path.read_text()
    lines = raw.splitlines()
    code.lines[path.name] = len(lines)
    for number, line in enumerate(lines, 1):
        width = len(line.expandtabs(8))
        code.widest = max(code.widest, (width, f"{path.name}:{number}"))
        code.wide += width > 80
    text = NOISE.sub(blank, raw)
    code.conditions += len(CONDITION.findall(text)) - bool(
        path.suffix == ".h" and GUARD.search(text))
    text = DIRECTIVE.sub(blank, text)
    for start, head, brace in declarations(text):
        if brace is None:
            code.variables += [(n, path.name) for n in mutable(head)]
        else:
            measure_function(code, path.name, text, start, head, brace)


def rows(code):
    """(figure, now, aim, limit, where) for each line of the table."""
    by_length = sorted(code.functions, key=lambda f: f.length)
    deepest = max(code.functions, key=lambda f: f.nesting)
    most = max(code.functions, key=lambda f: f.parameters)
    longest = max(code.lines, key=code.lines.get)
    p95 = by_length[math.ceil(0.95 * len(by_length)) - 1]
    conditions = 1000 * code.conditions / sum(code.lines.values())
    return [
        ("function length, median",
         by_length[(len(by_length) - 1) // 2].length, 12, 15, ""),
        ("function length, 95th percentile", p95.length, 50, 65, ""),
        ("function length, longest", by_length[-1].length, 80, 100,
         by_length[-1].name),
        ("nesting", deepest.nesting, 2, 3, deepest.name),
        ("parameters", most.parameters, 4, 6, most.name),
        ("file length", code.lines[longest], 300, 500, longest),
        ("line width", code.widest[0], 80, 100, code.widest[1]),
        ("mutable variables", len(code.variables), 5, 8, ""),
        ("#if per 1000 lines", round(conditions, 1), 0, 2, ""),
    ]


def main(directory):
    code = Code()
    for path in sorted([*directory.glob("*.c"), *directory.glob("*.h")]):
        try:
            measure_file(code, path)
        except ValueError as error:
            sys.exit(f"{path.name}: {error}")
    if not code.functions:
        sys.exit(f"no function found in {directory}")
    print(f"{sum(code.lines.values())} lines in {len(code.lines)} files, "
          f"{len(code.functions)} functions, {code.wide} lines over 80\n")
    print(f"{'figure':34}{'now':>6}{'aim':>6}{'limit':>7}")
    broken = []
    for figure, now, aim, limit, where in rows(code):
        if now > limit:
            broken.append(f"{figure}: {now}, at most {limit} {where}")
        mark = "OVER" if now > limit else "above" if now > aim else ""
        print(f"{figure:34}{now:>6}{aim:>6}{limit:>7}  {mark:6}{where}"
              .rstrip())
    print("\nlongest functions")
    for f in sorted(code.functions, key=lambda f: -f.length)[:5]:
        print(f"  {f.length:4}  {f.name}  {f.file}:{f.line}")
    print("\nmutable variables")
    for name, file in code.variables:
        print(f"  {name}  {file}")
    for sentence in broken:
        print(f"over the limit: {sentence}", file=sys.stderr)
    return bool(broken)


if __name__ == "__main__":
    sys.exit(main(pathlib.Path(sys.argv[1]) if len(sys.argv) > 1
                  else pathlib.Path(__file__).resolve().parent.parent))
