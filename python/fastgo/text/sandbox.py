"""Runs a chat template that may be hostile: it can't reach Python's insides, and its work and output are bounded.

Jinja2's own sandbox keeps attributes safe but lets a template loop or double a string without end. This one counts
work. Owns the budget, the filters and methods a template may use, and the rewriting of a template's syntax tree that
makes loops, literals and joins count. Unit of work: roughly one character touched; a loop turn or a call costs more.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterable, Mapping, Sequence, Sized
from functools import wraps
from types import GeneratorType
from typing import Any

from jinja2 import Environment, nodes
from jinja2.exceptions import SecurityError
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace, pass_context
from jinja2.visitor import NodeTransformer


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_STEP = 20
_MAX_INTEGER_BITS = 4096
_MAX_INDENT = 64

_FILTERS = _words(
    "abs capitalize count d default dictsort first float indent int items join last length list lower map max min "
    "reject rejectattr replace reverse select selectattr sort string title trim unique upper"
)
_FILTERS_OF_CONSTANT_COST = _words("abs count d default first last length")
_STRING_METHODS = _words(
    "capitalize count endswith find index isalnum isalpha isdigit islower isspace isupper join lower lstrip partition "
    "removeprefix removesuffix replace rfind rindex rpartition rsplit rstrip split splitlines startswith strip title "
    "upper"
)
_METHODS: Sequence[tuple[tuple[type, ...], frozenset[str]]] = (
    ((str,), _STRING_METHODS),
    ((dict,), frozenset(("get", "items", "keys", "values"))),
    ((list, tuple), frozenset(("count", "index"))),
    ((int, float, bytes), frozenset()),
)


_PASSED_BY_JINJA = (Context, Environment, nodes.EvalContext)


class TemplateLimitError(Exception):
    """A template that does more work, or writes more, than any honest one."""


class _Budget:
    """Counts the work of one rendering; `limit` grows with what was given to the template."""

    def __init__(self, given: Any) -> None:
        self._weights: dict[int, tuple[Any, int]] = {}
        self._max_weight = 1 << 62
        weight = self.weigh(given)
        self._max_weight = 2_000_000 + 4 * weight
        self._left = 10_000_000 + 200 * weight

    def spend(self, work: int) -> None:
        self._left -= work
        if self._left < 0:
            raise TemplateLimitError("it does too much work")

    def check(self, weight: int) -> int:
        if weight > self._max_weight:
            raise TemplateLimitError("it makes too large a value")
        return weight

    def weigh(self, value: Any) -> int:
        """Returns about how many characters `value` has when written out, shared parts counted each time."""
        if isinstance(value, str):
            return self.check(len(value) + 1)
        if isinstance(value, int):
            return 1 + value.bit_length() // 3
        if isinstance(value, range):
            return self.check(len(value) + 1)
        if isinstance(value, Namespace):
            raise TemplateLimitError("it uses a namespace as a value")
        if not isinstance(value, (list, tuple, Mapping, type({}.keys()), type({}.values()), type({}.items()))):
            return 1
        known = self._weights.get(id(value))
        if known is None:
            parts: Iterable[Any] = itertools.chain.from_iterable(value.items()) if isinstance(value, Mapping) else value
            # Kept together with the value, so that its id stays its own.
            known = (value, self.check(sum(map(self.weigh, parts)) + 2))
            self._weights[id(value)] = known
        return known[1]


class _Counting(NodeTransformer):
    """Rewrites a template such that whatever repeats or grows passes by the environment's counting methods."""

    def _call(self, method: str, node: nodes.Node, *arguments: nodes.Expr) -> nodes.Call:
        target = nodes.EnvironmentAttribute(method, lineno=node.lineno)
        return nodes.Call(target, list(arguments), [], None, None, lineno=node.lineno)

    def _step(self, node: nodes.Node, work: int) -> nodes.Call:
        return self._call("count_step", node, nodes.Const(work, lineno=node.lineno))

    def visit_For(self, node: nodes.For) -> nodes.Node:
        self.generic_visit(node)
        node.body.insert(0, nodes.ExprStmt(self._step(node, _STEP), lineno=node.lineno))
        if node.test is not None:
            node.test = nodes.And(self._step(node, _STEP), node.test, lineno=node.lineno)
        return node

    def visit_Output(self, node: nodes.Output) -> list[nodes.Node]:
        static = sum(len(child.data) for child in node.nodes if isinstance(child, nodes.TemplateData))
        self.generic_visit(node)
        return [nodes.ExprStmt(self._step(node, static + 1), lineno=node.lineno), node]

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:
        self.generic_visit(node)
        return self._call("join_texts", node, *node.nodes)

    def visit_Compare(self, node: nodes.Compare) -> nodes.Node:
        self.generic_visit(node)
        node.expr = self._call("count_operand", node, node.expr)
        for operand in node.ops:
            operand.expr = self._call("count_operand", node, operand.expr)
        return node

    def visit_List(self, node: nodes.List) -> nodes.Node:
        self.generic_visit(node)
        return self._call("checked", node, node)

    visit_Dict = visit_List

    def visit_Tuple(self, node: nodes.Tuple) -> nodes.Node:
        self.generic_visit(node)
        return self._call("checked", node, node) if node.ctx == "load" else node

    def _refuse(self, node: nodes.Node) -> nodes.Node:
        raise TemplateLimitError("it asks for another template")

    visit_Include = visit_Import = visit_FromImport = visit_Extends = _refuse


class _Generation(Extension):
    """`{% generation %}` marks the assistant's words for training; here it only passes its body on."""

    tags = {"generation"}  # noqa: RUF012 (Jinja2's interface)

    def parse(self, parser: Parser) -> list[nodes.Node]:
        next(parser.stream)
        return list(parser.parse_statements(("name:endgeneration",), drop_needle=True))


def _tojson(value: Any, ensure_ascii: bool = False, indent: Any = None, separators: Any = None,
            sort_keys: bool = False) -> str:  # fmt: skip
    if indent is not None and not (isinstance(indent, int) and 0 <= indent <= _MAX_INDENT):
        raise TemplateLimitError(f"it indents by {str(indent)[:20]!r}")
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


class CountingEnvironment(ImmutableSandboxedEnvironment):
    """An environment for exactly one rendering.

    Args:
        given: everything the template is given; the budget grows with its size.
    """

    intercepted_binops = frozenset(("+", "*", "**", "%"))

    def __init__(self, given: Any) -> None:
        super().__init__(
            trim_blocks=True,
            lstrip_blocks=True,
            optimized=False,  # constants are computed at run time, where they count
            extensions=[loopcontrols, _Generation],
            finalize=self._finalize,
        )
        self._budget = _Budget(given)
        self.filters = {name: self._counted(name, self.filters[name]) for name in _FILTERS}
        self.filters["tojson"] = self._counted("tojson", _tojson)
        self.filters["safe"] = self._counted("string", str)
        self.globals = {name: self.globals[name] for name in ("dict", "joiner", "namespace", "range")}

    def compile_counted(self, source: str) -> Any:
        """Returns the jinja2 Template of `source`, rewritten to count its work."""
        tree = _Counting().visit(self.parse(source))
        tree.set_environment(self)
        return self.template_class.from_code(self, self.compile(tree), self.make_globals(None))

    def count_step(self, work: int) -> bool:
        self._budget.spend(work)
        return True

    def count_operand(self, value: Any) -> Any:
        if not isinstance(value, (str, Namespace)):
            self._budget.spend(self._budget.weigh(value))
        return value

    def checked(self, value: Any) -> Any:
        self._budget.spend(len(value))
        self._budget.weigh(value)
        return value

    def join_texts(self, *values: Any) -> str:
        text = "".join([self._text(value) for value in values])
        self._budget.weigh(text)
        return text

    @pass_context  # with the context it can't be folded into constants at compile time
    def _finalize(self, context: Context, value: Any) -> str:
        return self._text(value)

    def _text(self, value: Any) -> str:
        self._budget.spend(_STEP + self._budget.weigh(value))
        return str(value)

    def _made(self, value: Any) -> Any:
        if isinstance(value, GeneratorType):
            value = list(value)
        if not isinstance(value, Namespace):
            self._budget.weigh(value)
        self._budget.spend(len(value) if isinstance(value, (str, list, tuple, dict)) else 1)
        return value

    def _counted(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """Returns a filter that checks what it would make before making it."""
        can_grow = name in ("replace", "join", "indent")
        deep = name in ("string", "tojson", "join", "sort", "unique", "max", "min", "dictsort")

        @wraps(function)
        def counted(*arguments: Any, **options: Any) -> Any:
            values = [item for item in arguments if not isinstance(item, _PASSED_BY_JINJA)]
            value = values[0] if values else None
            weight = self._budget.weigh(value) if not isinstance(value, Namespace) or deep else 1
            shallow = len(value) if isinstance(value, Sized) else 1
            constant = name in _FILTERS_OF_CONSTANT_COST
            self._budget.spend(_STEP + (0 if constant else weight if deep else shallow))
            if can_grow:
                self._check_growth(name, value, [*values[1:], *options.values()])
            if name == "int" and isinstance(value, str) and len(value) > _MAX_INTEGER_BITS // 4:
                raise TemplateLimitError("it makes too large a number")
            return self._made(function(*arguments, **options))

        return counted

    def _check_growth(self, name: str, value: Any, arguments: Sequence[Any]) -> None:
        """Raises when replacing, joining or indenting would make too large a text."""
        longest = max((self._budget.weigh(argument) for argument in arguments), default=0)
        if name == "indent":
            width = max((argument for argument in arguments if isinstance(argument, int)), default=4)
            times, longest = str(value).count("\n") + 1, max(longest, width)
        elif name == "replace":
            old = str(arguments[0]) if arguments else ""
            times = str(value).count(old)
        else:
            times = len(value) if isinstance(value, Sized) else 0
        self._budget.spend(self._budget.check(self._budget.weigh(value) + times * longest))

    def call(__self, __context: Context, __obj: Any, *args: Any, **kwargs: Any) -> Any:
        environment = __self
        environment._budget.spend(_STEP)
        owner, name = getattr(__obj, "__self__", None), getattr(__obj, "__name__", "")
        if owner is environment:
            return __obj(*args)
        if isinstance(owner, str):
            environment._budget.spend(len(owner))
            if name == "replace":
                environment._check_growth("replace", owner, args)
            elif name == "join":
                parts = [list(part) if isinstance(part, GeneratorType) else part for part in args]
                environment._check_growth("join", parts[0] if parts else (), [owner])
                args = tuple(parts)
        return environment._made(super().call(__context, __obj, *args, **kwargs))

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        if operator == "%" and isinstance(left, (str, bytes)):
            raise SecurityError("text formatting with % is not available")
        if isinstance(left, (int, float)) and isinstance(right, (int, float)):
            _check_number(operator, left, right)
        elif operator == "*":
            text, times = (right, left) if isinstance(left, int) else (left, right)
            size = self._budget.weigh(text) * max(times, 0) if isinstance(times, int) else 0
            self._budget.spend(self._budget.check(size))
        else:
            self._budget.spend(self._budget.check(self._budget.weigh(left) + self._budget.weigh(right)))
        return super().call_binop(context, operator, left, right)

    def wrap_str_format(self, value: Any) -> None:
        """No `str.format`: `is_safe_attribute` refuses it, as its widths can ask for any length."""
        return None

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        for types, methods in _METHODS:
            if isinstance(obj, types):
                return attr in methods
        return super().is_safe_attribute(obj, attr, value)


def _check_number(operator: str, left: float, right: float) -> None:
    if not (isinstance(left, int) and isinstance(right, int)):
        return
    bits = left.bit_length() * max(right, 0) if operator == "**" else left.bit_length() + right.bit_length()
    if bits > _MAX_INTEGER_BITS:
        raise TemplateLimitError("it makes too large a number")
